//! The reference page of policies: written from the doc comments of `policy/src/file.rs`, and never stale.
//!
//! `BLESS=1 cargo test -p hallmark-cli reference` writes it anew.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use syn::{Attribute, Expr, Field, Fields, GenericArgument, Item, Lit, Meta, PathArguments, Type};

const INTRODUCTION: &str = "\
# Policy reference

Every setting of a policy file. Whatever a policy does not name is refused; what it misspells is an error.

- `hallmark policy check FILE` says every mistake at its line, or what the policy means.
- `hallmark policy explain CSR --policy FILE --profile P --caller C` says rule by rule what would become of a request.
- `hallmark policy test FILE` runs the cases beside a policy. `--bless` writes what was decided into the cases that failed;
  it changes the lines of expectations only, and a comment on such a line is lost.

Spans of time are a whole number and one unit of `s`, `m`, `h` and `d`, such as `30d`. `examples/policy.toml` is a commented
policy, and `examples/cookbook/` has six complete ones with their cases.

This page is written from the doc comments of `policy/src/file.rs`; change it there.
";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_reference_page_says_what_the_code_says() {
    let page = page(&fs::read_to_string(root().join("policy/src/file.rs")).unwrap());
    let path = root().join("docs/policy-reference.md");
    if env::var_os("BLESS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/policy-reference.md is stale; write it with BLESS=1");
}

#[test]
fn every_setting_is_described() {
    let file = syn::parse_file(&fs::read_to_string(root().join("policy/src/file.rs")).unwrap()).unwrap();
    let mut settings = 0;
    for item in &file.items {
        let Item::Struct(table) = item else { continue };
        for field in &table.fields {
            assert!(!docs(&field.attrs).is_empty(), "{}.{}", table.ident, name(field));
            settings += 1;
        }
    }
    assert!(settings > 30, "{settings} settings were found");
}

/// The page, from the source text.
fn page(source: &str) -> String {
    let file = syn::parse_file(source).unwrap();
    let mut words = BTreeMap::new();
    let mut titles = BTreeMap::new();
    for item in &file.items {
        if let Item::Enum(list) = item {
            words.insert(list.ident.to_string(), variants(list));
        }
        if let Item::Struct(table) = item {
            titles.insert(table.ident.to_string(), title(&docs(&table.attrs)));
        }
    }
    let mut page = INTRODUCTION.to_owned();
    for item in &file.items {
        let Item::Struct(table) = item else { continue };
        let Fields::Named(fields) = &table.fields else { continue };
        let docs = docs(&table.attrs);
        page.push_str(&format!("\n## {}\n\n{}\n\n", title(&docs), introduction(&docs)));
        page.push_str("| setting | type | meaning |\n|---|---|---|\n");
        for field in &fields.named {
            let (kind, list) = kind(field, &titles, &words);
            let meaning = [self::docs(&field.attrs), list].concat().join("<br>").replace('|', "\\|");
            page.push_str(&format!("| `{}` | {kind} | {meaning} |\n", name(field)));
        }
    }
    page
}

/// A field's type in words, and what its words mean if it has a list of them.
fn kind(
    field: &Field,
    titles: &BTreeMap<String, String>,
    words: &BTreeMap<String, Vec<String>>,
) -> (String, Vec<String>) {
    let (outer, inner) = unwrapped(&field.ty);
    let optional = outer == "Option" || field.attrs.iter().any(is_default);
    let (container, element) = match inner {
        Some(inner) => match unwrapped(inner) {
            // An optional list.
            (list, Some(element)) if outer == "Option" => (list, unwrapped(element).0),
            (element, _) => (outer, element),
        },
        None => (String::new(), outer),
    };
    let single = match element.as_str() {
        "String" => "text".to_owned(),
        "bool" => "true or false".to_owned(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "whole number".to_owned(),
        other => match titles.get(other) {
            Some(title) => format!("[{title}](#{})", anchor(title)),
            None => "word".to_owned(),
        },
    };
    let kind = match container.as_str() {
        "Vec" => format!("list of {single}"),
        "BTreeMap" => format!("by name: {single}"),
        _ => single,
    };
    (if optional { kind } else { format!("{kind}, required") }, words.get(&element).cloned().unwrap_or_default())
}

/// `Vec<T>` as `Vec` and `T`; of a map, the values.
fn unwrapped(ty: &Type) -> (String, Option<&Type>) {
    let Type::Path(path) = ty else { panic!("a type that no table has") };
    let last = path.path.segments.last().unwrap();
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return (last.ident.to_string(), None) };
    let Some(GenericArgument::Type(inner)) = arguments.args.last() else { panic!("an argument that is no type") };
    (last.ident.to_string(), Some(inner))
}

fn is_default(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else { return false };
    attribute.path().is_ident("serde") && list.tokens.to_string().contains("default")
}

/// The words of a list with their meanings.
fn variants(list: &syn::ItemEnum) -> Vec<String> {
    let said = |variant: &syn::Variant| {
        let renamed = variant.attrs.iter().find_map(|attribute| {
            let Meta::List(list) = &attribute.meta else { return None };
            let tokens = list.tokens.to_string();
            tokens.strip_prefix("rename = ").map(|word| word.trim_matches('"').to_owned())
        });
        let word = renamed.unwrap_or_else(|| kebab(&variant.ident.to_string()));
        format!("`{word}`: {}", docs(&variant.attrs).join(" "))
    };
    list.variants.iter().map(said).collect()
}

fn name(field: &Field) -> String {
    field.ident.as_ref().unwrap().to_string().replace('_', "-")
}

fn kebab(word: &str) -> String {
    let mut kebab = String::new();
    for letter in word.chars() {
        if letter.is_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.extend(letter.to_lowercase());
    }
    kebab
}

/// Paragraphs of a doc comment.
fn docs(attributes: &[Attribute]) -> Vec<String> {
    let line = |attribute: &Attribute| {
        let Meta::NameValue(pair) = &attribute.meta else { return None };
        let Expr::Lit(literal) = &pair.value else { return None };
        let Lit::Str(text) = &literal.lit else { return None };
        attribute.path().is_ident("doc").then(|| text.value().trim().to_owned())
    };
    let lines: Vec<String> = attributes.iter().filter_map(line).collect();
    lines.split(String::is_empty).map(|lines| lines.join(" ")).filter(|paragraph| !paragraph.is_empty()).collect()
}

/// What a table is called: its doc comment up to the first full stop or colon outside of code.
fn title(docs: &[String]) -> String {
    let first = docs.first().map(String::as_str).unwrap_or_default();
    first.get(..end_of_title(first)).unwrap_or_default().to_owned()
}

fn end_of_title(text: &str) -> usize {
    let mut code = false;
    let end = text.char_indices().find(|(_, letter)| {
        code ^= *letter == '`';
        !code && ['.', ':'].contains(letter)
    });
    end.map_or(text.len(), |(at, _)| at)
}

/// What follows the title.
fn introduction(docs: &[String]) -> String {
    let first = docs.first().map(String::as_str).unwrap_or_default();
    let rest = first[end_of_title(first)..].trim_start_matches(['.', ':', ' ']);
    let mut letters = rest.chars();
    let rest: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    let paragraphs = std::iter::once(rest).chain(docs.iter().skip(1).cloned());
    paragraphs.filter(|paragraph| !paragraph.is_empty()).collect::<Vec<_>>().join("\n\n")
}

/// The link that a heading gets.
fn anchor(title: &str) -> String {
    let kept = |letter: &char| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter);
    title.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}
