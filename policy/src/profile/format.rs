//! Formats of names, with how many there may be.

use crate::{
    ip::IpBlock,
    name::{GeneralName, NameKind},
    template::{Bindings, Template, Vocabulary},
};

/// One format of subjectAltName entries, with how many there may be.
#[derive(Clone, Debug)]
pub(crate) struct NameFormat {
    pub(crate) kind: NameKind,
    pub(crate) pattern: Pattern,
    pub(crate) at_least: usize,
    pub(crate) at_most: usize,
}

/// What a name of one format looks like.
#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    /// Text with parts.
    Template(Template),
    /// An address in a block. It binds nothing.
    Block(IpBlock),
}

impl Pattern {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Template(template) => template.as_str(),
            Self::Block(block) => block.as_str(),
        }
    }

    pub(crate) fn template(&self) -> Option<&Template> {
        match self {
            Self::Template(template) => Some(template),
            Self::Block(_) => None,
        }
    }

    pub(crate) fn is_wildcard(&self) -> bool {
        self.template().is_some_and(Template::is_wildcard)
    }

    /// Every way to read `name` that agrees with `bound`. `None`: more ways than may be tried.
    pub(crate) fn read(&self, name: &GeneralName, bound: &Bindings, vocabulary: &Vocabulary) -> Option<Vec<Bindings>> {
        match (self, name) {
            (Self::Block(block), GeneralName::Ip(address)) => {
                Some(if block.contains(address.address()) { vec![bound.clone()] } else { Vec::new() })
            }
            (Self::Block(_), GeneralName::Dns(_) | GeneralName::Uri(_) | GeneralName::Email(_)) => Some(Vec::new()),
            (Self::Template(template), name) => template.read(name.as_str(), bound, vocabulary),
        }
    }
}

/// How many names of one kind there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KindCount {
    pub(crate) kind: NameKind,
    pub(crate) at_least: usize,
    pub(crate) at_most: usize,
}
