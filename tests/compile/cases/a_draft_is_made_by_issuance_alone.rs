use hallmark_issuance::Draft;

fn forge(der: Vec<u8>) -> Draft {
    Draft(der)
}

fn main() {}
