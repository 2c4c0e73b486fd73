use hallmark_policy::{Approved, Conditions, Facts, content::Content, key::PublicKey};

fn forge(content: Content, issuer: PublicKey, conditions: Conditions, facts: Facts) -> Approved {
    Approved { content, issuer, conditions, facts, instance_rate: None }
}

fn main() {}
