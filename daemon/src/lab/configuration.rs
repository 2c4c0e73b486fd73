//! The examples, with what differs from laboratory to laboratory put in.

use std::{net::SocketAddr, path::Path};

use crate::trouble::Trouble;

/// The example policy, as it is.
pub(super) const POLICY: &str = include_str!("../../../examples/policy.toml");

const SIGNER: &str = include_str!("../../../examples/signer.toml");
const OPERATORS_TABLE: &str = "[operators]";
const WITHOUT_CEREMONY: &str = "\n# roots-without-ceremony = ";
const TOKEN_TABLE: &str = "[backend.pkcs11]";
const SOFTWARE_TABLE: &str = "# [backend.software]";

/// The example configuration with this address and this module, or with keys in files.
pub(super) fn signer_toml(listen: SocketAddr, module: Option<&Path>, software: bool) -> Result<String, Trouble> {
    let text = with_value(SIGNER, "address", &listen.to_string())?;
    let text = with_operators(&text, beside(listen))?;
    let text = without_ceremony(&text)?;
    if software {
        return with_software_keys(&text);
    }
    match module {
        None => Ok(text),
        Some(module) => {
            let wrong = || Trouble::Path { path: module.to_owned() };
            let module = std::path::absolute(module).map_err(|_| wrong())?;
            let module = module.to_str().filter(|path| !path.contains(char::is_control)).ok_or_else(wrong)?;
            with_value(&text, "module", module)
        }
    }
}

/// The next port, or any free one where callers get one, too.
fn beside(listen: SocketAddr) -> SocketAddr {
    let port = if listen.port() == 0 { 0 } else { listen.port().checked_add(1).unwrap_or(0) };
    SocketAddr::new(listen.ip(), port)
}

/// The text with this address of the operators' listener.
fn with_operators(text: &str, address: SocketAddr) -> Result<String, Trouble> {
    let missing = || Trouble::Example { line: OPERATORS_TABLE.to_owned() };
    let (before, operators) = text.split_once(OPERATORS_TABLE).ok_or_else(missing)?;
    Ok(format!("{before}{OPERATORS_TABLE}{}", with_value(operators, "address", &address.to_string())?))
}

/// The text in which the roots of a laboratory need no ceremony.
fn without_ceremony(text: &str) -> Result<String, Trouble> {
    let uncommented = WITHOUT_CEREMONY.replacen("# ", "", 1);
    match text.contains(WITHOUT_CEREMONY) {
        true => Ok(text.replacen(WITHOUT_CEREMONY, &uncommented, 1)),
        false => Err(Trouble::Example { line: WITHOUT_CEREMONY.trim().to_owned() }),
    }
}

/// The text with another value for the first `key = "value"`; the comment behind it stays.
fn with_value(text: &str, key: &str, value: &str) -> Result<String, Trouble> {
    let start = format!("{key} = \"");
    let missing = || Trouble::Example { line: start.clone() };
    let (before, rest) = text.split_once(&format!("\n{start}")).ok_or_else(missing)?;
    let (_, after) = rest.split_once('"').ok_or_else(missing)?;
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    Ok(format!("{before}\n{start}{escaped}\"{after}"))
}

/// The text without the token's table and with that of the files.
fn with_software_keys(text: &str) -> Result<String, Trouble> {
    let missing = |line: &str| Trouble::Example { line: line.to_owned() };
    let (before, token) = text.split_once(TOKEN_TABLE).ok_or_else(|| missing(TOKEN_TABLE))?;
    let (_, software) = token.split_once(SOFTWARE_TABLE).ok_or_else(|| missing(SOFTWARE_TABLE))?;
    Ok(format!("{before}[backend.software]{}", software.replace("\n# ", "\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> toml::Table {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn address_and_module_are_put_in() {
        let listen = "[::1]:9".parse().unwrap();
        let text = signer_toml(listen, Some(Path::new("/opt/a \"b\"\\c.so")), false).unwrap();
        assert_eq!(table(&text)["listen"]["address"].as_str(), Some("[::1]:9"));
        assert_eq!(table(&text)["operators"]["address"].as_str(), Some("[::1]:10"));
        assert_eq!(table(&text)["backend"]["pkcs11"]["module"].as_str(), Some("/opt/a \"b\"\\c.so"));
        assert_eq!(text.lines().count(), SIGNER.lines().count());
        assert_eq!(table(&text)["policy"]["roots-without-ceremony"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn keys_in_files_take_the_tokens_place() {
        let text = signer_toml("127.0.0.1:0".parse().unwrap(), None, true).unwrap();
        assert_eq!(table(&text)["backend"]["software"]["directory"].as_str(), Some("keys"));
        assert!(table(&text)["backend"].get("pkcs11").is_none());
    }

    #[test]
    fn a_module_whose_path_is_no_text_is_refused() {
        let listen = "127.0.0.1:0".parse().unwrap();
        assert!(matches!(signer_toml(listen, Some(Path::new("a\nb")), false), Err(Trouble::Path { .. })));
    }
}
