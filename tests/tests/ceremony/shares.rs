//! A PIN that is split: enough custodians open the token, and fewer do not.

use std::{fs, io::Write as _, os::unix::fs::PermissionsExt as _, process::Command};

use age::secrecy::ExposeSecret as _;
use hallmark_test_token::PIN;

use crate::hall::{Hall, WITNESSES, await_words, root_task};

/// A hall whose token's PIN is about to be split among three: two with SSH keys, one on paper.
fn about_to_split(hall: &Hall, witnesses: &str) -> String {
    let recipient = |name: &str| {
        let key = hall.text(name);
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &key]).status().unwrap();
        assert!(made.success());
        hall.read(&format!("{name}.pub")).trim().to_owned()
    };
    let (ada, grace) = (recipient("ada"), recipient("grace"));
    let task = format!(
        "{witnesses}[task.quorum]\nthreshold = 2\nrecord = \"out/quorum.json\"\ncustodian = [\n\
         {{ name = \"Ada\", share = \"out/ada.age\", recipient = \"{ada}\" }},\n\
         {{ name = \"Grace\", share = \"out/grace.age\", recipient = \"{grace}\" }},\n\
         {{ name = \"Emmy\", share = \"out/emmy.html\" }},\n]\n"
    );
    hall.file("quorum", "athenz", &task)
}

/// A root whose PIN the quorum has.
fn root(hall: &Hall) -> String {
    let file = hall.file("athenz-root", "athenz", &root_task("athenz"));
    let text = hall.read("athenz-root.toml").replace("pin-file = \"pin\"", "pin-quorum = \"out/quorum.json\"");
    hall.write("athenz-root.toml", &text);
    file
}

/// `--share` and `--identity` of these custodians.
fn shares(hall: &Hall, names: &[&str]) -> Vec<String> {
    names
        .iter()
        .flat_map(|name| {
            let (share, identity) = (hall.text(&format!("out/{name}.age")), hall.text(name));
            ["--share".to_owned(), share, "--identity".to_owned(), identity]
        })
        .collect()
}

fn run_with(hall: &Hall, file: &str, shares: &[String]) -> crate::hall::Came {
    let mut arguments = vec!["run", "--unattended", file];
    arguments.extend(shares.iter().map(String::as_str));
    hall.ceremony(&arguments)
}

/// What stands on a page: the number, and the words in their order.
fn on_paper(hall: &Hall, name: &str) -> String {
    let page = hall.read(name);
    let words: Vec<&str> = page.split("</small> ").skip(1).map(|part| part.split("</td>").next().unwrap()).collect();
    assert_eq!(words.len(), 24, "{page}");
    let number = page.split("type the number ").nth(1).unwrap().split(' ').next().unwrap();
    format!("{number} {}", words.join(" "))
}

#[test]
fn any_two_of_three_custodians_open_the_token_and_nobody_does_alone() {
    let hall = Hall::new();
    let quorum = about_to_split(&hall, "");
    hall.run(&quorum).good();
    hall.verify("quorum").good();
    for (name, mode) in [("out/ada.age", 0o600), ("out/emmy.html", 0o600), ("out/quorum.json", 0o644)] {
        assert_eq!(fs::metadata(hall.path(name)).unwrap().permissions().mode() & 0o777, mode, "{name}");
    }
    let paper = on_paper(&hall, "out/emmy.html");
    let last = paper.rsplit(' ').next().unwrap().to_owned();
    assert!(hall.read("out/emmy.html").contains("<svg"), "there is a QR code");
    for public in
        ["quorum.transcript.json", "out/quorum.json", "log/journals/quorum.journal", "log/journals/quorum.transcript"]
    {
        let text = hall.read(public);
        assert!(!text.contains(&paper[2..]) && !text.contains(PIN), "{public} has no secret");
    }
    let root = root(&hall);
    run_with(&hall, &root, &shares(&hall, &["ada"])).refused(2, "1 of 2 shares were given with --share");
    let twice = shares(&hall, &["ada", "ada"]);
    run_with(&hall, &root, &twice).refused(1, "share 1 was entered before");
    hall.write("paper.txt", &paper);
    // Of the words that there are, one in 256 would pass for the right one here, and be found out by the set.
    hall.write("wrong.txt", &paper.replacen(&last, &format!("{last}x"), 1));
    let with_paper = |name: &str| [shares(&hall, &["grace"]), vec!["--share".to_owned(), hall.text(name)]].concat();
    run_with(&hall, &root, &with_paper("wrong.txt")).refused(1, "a share was not taken: that is no share");
    run_with(&hall, &root, &with_paper("paper.txt")).good();
    hall.verify("athenz-root").good();
    // The PIN before opens nothing any more.
    let old = hall.file("old-pin", "old", &root_task("old"));
    hall.run(&old).refused(3, "the user PIN of token");
}

/// What stands on a page of PDF: the number, and the words in their order.
fn on_pdf(page: &str) -> String {
    let words: Vec<&str> = page.split("/F 14 Tf").skip(1).map(|part| part.split(['(', ')']).nth(1).unwrap()).collect();
    let number = page.split("type the number ").nth(1).unwrap().split(' ').next().unwrap();
    format!("{number} {}", words.join(" "))
}

#[test]
fn a_share_on_a_page_of_pdf_is_kept_and_entered_like_any_other() {
    let hall = Hall::new();
    let file = about_to_split(&hall, "");
    hall.write("quorum.toml", &hall.read("quorum.toml").replace("emmy.html", "emmy.pdf"));
    hall.run(&file).good();
    hall.verify("quorum").good();
    let page = fs::read(hall.path("out/emmy.pdf")).unwrap();
    assert_eq!(fs::metadata(hall.path("out/emmy.pdf")).unwrap().permissions().mode() & 0o777, 0o600);
    let paper = on_pdf(&page.iter().map(|byte| char::from(*byte)).collect::<String>());
    assert!(!hall.read("quorum.transcript.json").contains(&paper[2..]), "a secret is in no transcript");
    hall.write("paper.txt", &paper);
    let with_paper = [shares(&hall, &["grace"]), vec!["--share".to_owned(), hall.text("paper.txt")]].concat();
    run_with(&hall, &root(&hall), &with_paper).good();
    hall.verify("athenz-root").good();
}

#[test]
fn shares_that_are_sealed_to_age_keys_are_opened_by_each_custodian_s_own_and_by_nobody_else_s() {
    let hall = Hall::new();
    let names = ["ada", "grace", "emmy"];
    let identities: Vec<_> = names.iter().map(|_| age::x25519::Identity::generate()).collect();
    let custodians = names.iter().zip(&identities).map(|(name, identity)| {
        // As `age-keygen` writes it, behind another key of the same custodian.
        let (own, other) = (identity.to_string(), age::x25519::Identity::generate().to_string());
        let file = format!("# created: today\n{}\n{}\n", other.expose_secret(), own.expose_secret());
        hall.write(name, &file);
        format!("{{ name = \"{name}\", share = \"out/{name}.age\", recipient = \"{}\" }},\n", identity.to_public())
    });
    let custodians: String = custodians.collect();
    let task = format!("[task.quorum]\nthreshold = 2\nrecord = \"out/quorum.json\"\ncustodian = [\n{custodians}]\n");
    hall.run(&hall.file("quorum", "athenz", &task)).good();
    hall.verify("quorum").good();
    let root = root(&hall);
    let share = |name: &str, identity: &str| {
        ["--share".to_owned(), hall.text(&format!("out/{name}.age")), "--identity".to_owned(), hall.text(identity)]
    };
    let foreign = [share("ada", "ada"), share("grace", "emmy")].concat();
    run_with(&hall, &root, &foreign).refused(2, "is no share that one of these identities opens");
    let both = [share("emmy", "emmy"), share("grace", "grace")].concat();
    run_with(&hall, &root, &both).good();
    hall.verify("athenz-root").good();
}

#[test]
fn custodians_type_their_shares_and_what_is_mistyped_or_of_another_set_is_asked_for_again() {
    let (hall, other) = (Hall::new(), Hall::new());
    hall.run(&about_to_split(&hall, "")).good();
    other.run(&about_to_split(&other, "")).good();
    let file = root(&hall);
    hall.write("athenz-root.toml", &hall.read("athenz-root.toml").replacen("[task", &format!("{WITNESSES}[task"), 1));
    let opened = |name: &str| {
        let share = hall.text(&format!("out/{name}.age"));
        hallmark_ceremony::quorum::open_share(share.as_ref(), &[hall.path(name)]).unwrap().to_string()
    };
    let (ours, theirs, paper) = (opened("ada"), on_paper(&other, "out/emmy.html"), on_paper(&hall, "out/emmy.html"));
    let typed = format!(
        "{}{theirs}\n3 nonsense\n{}\n{ours}\n{paper}\n{}",
        "AL\nGH\n".repeat(4),
        ours.to_uppercase(),
        "AL\nGH\n".repeat(10)
    );
    let came = hall.answering(&typed, &["run", "--countdown", "0", &file]).good();
    for words in
        ["share 3 is not one of this set", "that is no share", "share 1 was entered before", "Share 2 of 2, set "]
    {
        assert!(came.stderr.contains(words), "{words}\nis not in\n{}", came.stderr);
    }
    assert!(!came.stderr.contains(&paper[2..]), "shares are shown nowhere");
    hall.verify("athenz-root").good();
}

#[test]
fn a_split_that_is_killed_at_any_step_goes_on_and_the_token_is_never_locked_out() {
    for step in 1..=9 {
        let hall = Hall::new();
        let file = about_to_split(&hall, WITNESSES);
        let mut child = hall.begin(&["run", "--countdown", "0", &file]);
        let (mut stdin, mut stderr) = (child.stdin.take().unwrap(), child.stderr.take().unwrap());
        stdin.write_all("AL\nGH\n".repeat(step - 1).as_bytes()).unwrap();
        await_words(&mut stderr, &format!("Step {step} of 9: "));
        await_words(&mut stderr, "Ada Lovelace, type AL");
        child.kill().unwrap();
        child.wait().unwrap();
        // Where the PIN was changed already, the shares that were written are the good ones.
        let both = if step > 7 { shares(&hall, &["ada", "grace"]) } else { Vec::new() };
        run_with(&hall, &file, &both).good();
        run_with(&hall, &root(&hall), &shares(&hall, &["ada", "grace"])).good();
        hall.verify("athenz-root").good();
    }
}

#[test]
fn mistakes_about_a_quorum_are_told_before_anything_is_split() {
    let hall = Hall::new();
    about_to_split(&hall, "");
    let good = hall.read("quorum.toml");
    for (from, to, said) in [
        ("threshold = 2", "threshold = 1", "`threshold` is 1; it lies between 2 and 15"),
        ("threshold = 2", "threshold = 4", "there are 3 custodians; there must be 4 to 15"),
        (
            "recipient = \"ssh-ed25519 ",
            "recipient = \"ssh-rsa ",
            "the recipient of `Ada` is none; give `age1..` or a whole line `ssh-ed25519 ..`",
        ),
        ("out/grace.age", "out/ada.age", "the share would be written over another file"),
        ("pin-file = \"pin\"", "pin-file = \"pin\"\npin-quorum = \"q\"", "the PIN comes from one of them"),
        ("name = \"Emmy\"", "name = \"\"", "the name `` is empty"),
        (
            "name = \"Emmy\", share = \"out/emmy.html\"",
            "name = \"\u{421}\u{43e}\u{444}\u{44c}\u{44f}\", share = \"out/emmy.pdf\"",
            "the fonts of a PDF lack letters of",
        ),
    ] {
        assert!(good.contains(from));
        hall.write("bad.toml", &good.replacen(from, to, 1));
        let came = hall.ceremony(&["plan", &hall.text("bad.toml")]).refused(1, said);
        assert!(came.stdout.is_empty());
    }
    let file = root(&hall);
    hall.write("out/quorum.json", "{}");
    hall.run(&file).refused(2, "out/quorum.json` is no record of a quorum");
}
