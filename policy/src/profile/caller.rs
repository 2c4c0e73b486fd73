//! Who may call what.

use crate::{caller::Identity, limits::Rate};

/// Methods that the policy gives rights to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// MintCertificate.
    MintCertificate,
    /// GetChain.
    GetChain,
    /// RotateIntermediate.
    RotateIntermediate,
    /// ListEpochs.
    ListEpochs,
    /// WatchEpochs.
    WatchEpochs,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 5] =
        [Self::MintCertificate, Self::GetChain, Self::RotateIntermediate, Self::ListEpochs, Self::WatchEpochs];

    /// Its name on the wire and in policy files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MintCertificate => "MintCertificate",
            Self::GetChain => "GetChain",
            Self::RotateIntermediate => "RotateIntermediate",
            Self::ListEpochs => "ListEpochs",
            Self::WatchEpochs => "WatchEpochs",
        }
    }

    /// The method of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// A caller's rights.
///
/// A provider must be allowed by everything that a request comes through: by its profile, and by its caller where `providers` is
/// set. A key id of crypki's interface, which stands for a profile there, is one more such thing: it brings a list of its own.
#[derive(Clone, Debug)]
pub struct CallerRule {
    pub(crate) name: String,
    pub(crate) identity: Identity,
    pub(crate) methods: Vec<Method>,
    pub(crate) profiles: Vec<String>,
    pub(crate) providers: Option<Vec<String>>,
    pub(crate) rate: Option<Rate>,
}

impl CallerRule {
    /// Its name in the policy file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The identity in its certificate.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Methods that it may call.
    #[must_use]
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// Profiles that it may mint under.
    #[must_use]
    pub fn profiles(&self) -> &[String] {
        &self.profiles
    }

    /// Providers that it may speak for; `None`: all of the profile's.
    #[must_use]
    pub fn providers(&self) -> Option<&[String]> {
        self.providers.as_deref()
    }

    /// How many calls it may make.
    #[must_use]
    pub fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// Whether it may call `method`.
    #[must_use]
    pub fn may_call(&self, method: Method) -> bool {
        self.methods.contains(&method)
    }
}
