//! Calls of KMS, one for each thing that a signer wants done.

use std::{collections::BTreeMap, error::Error as StdError, future::Future, sync::Arc, time::Duration};

use aws_sdk_kms::{
    Client as Sdk, Config,
    config::{
        BehaviorVersion, IdentityCache, Region, SharedCredentialsProvider, StalledStreamProtectionConfig,
        retry::RetryConfig, timeout::TimeoutConfig,
    },
    error::{ProvideErrorMetadata, SdkError},
    primitives::Blob,
    types::{KeyMetadata, KeySpec, KeyUsageType, MessageType, OriginType, SigningAlgorithmSpec, Tag},
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use tokio::runtime::{Builder, Runtime};

use crate::{
    connector::{Connector, NotReached},
    credentials::{Credentials, Provider},
    error::{Code, Error, plain},
    key::{Algorithm, Input, Key, KeyId, NewKey, Spec},
    place::{Account, Place},
};

/// Calls, as the API names them.
const CREATE_KEY: &str = "CreateKey";
pub(crate) const DESCRIBE_KEY: &str = "DescribeKey";
const GENERATE_RANDOM: &str = "GenerateRandom";
const GET_PUBLIC_KEY: &str = "GetPublicKey";
const LIST_RESOURCE_TAGS: &str = "ListResourceTags";
const SCHEDULE_KEY_DELETION: &str = "ScheduleKeyDeletion";
const SIGN: &str = "Sign";

/// The way to KMS. Every call blocks, for at most the time that it is given, and is made once.
pub struct Client {
    /// Taken only where it ends, since its end may not wait.
    runtime: Option<Runtime>,
    pub(crate) sdk: Sdk,
    place: Place,
    account: Account,
    credentials: Arc<Credentials>,
}

impl Client {
    /// The calls that are made, in the words of an IAM policy.
    pub const ACTIONS: [&'static str; 9] = [
        "kms:CreateKey",
        "kms:DescribeKey",
        "kms:GenerateRandom",
        "kms:GetPublicKey",
        "kms:ListAliases",
        "kms:ListKeys",
        "kms:ListResourceTags",
        "kms:ScheduleKeyDeletion",
        "kms:Sign",
    ];

    /// Sets the way up to the keys of this account. Nobody is asked for anything.
    ///
    /// # Errors
    /// [`Error::SetUp`].
    pub fn new(place: Place, account: Account, credentials: Credentials) -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("aws-kms").enable_all().build();
        let runtime = runtime.map_err(|error| Error::SetUp { detail: error.to_string() })?;
        let credentials = Arc::new(credentials);
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(place.region().to_owned()))
            .credentials_provider(SharedCredentialsProvider::new(Provider(Arc::clone(&credentials))))
            // A file that has changed counts at once.
            .identity_cache(IdentityCache::no_cache())
            // What is tried again, and how long is waited, is decided above.
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .http_client(Connector::new(&place)?);
        config.set_endpoint_url(place.endpoint().map(str::to_owned));
        Ok(Self { runtime: Some(runtime), sdk: Sdk::from_conf(config.build()), place, account, credentials })
    }

    /// Where it leads.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The account whose keys are meant.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// What every key of the account in this region has before its id. A key is never asked for by its id alone, which KMS looks for in whatever account
    /// the credentials belong to.
    pub(crate) fn arn_prefix(&self) -> String {
        format!("arn:{}:kms:{}:{}:key/", self.place.partition(), self.place.region(), self.account)
    }

    pub(crate) fn arn(&self, id: &KeyId) -> String {
        self.arn_prefix() + id.as_str()
    }

    /// Whether an answer is about the key that was asked for.
    fn is_about(&self, call: &'static str, id: &KeyId, found: Option<&str>) -> Result<(), Error> {
        let wanted = self.arn(id);
        if found == Some(wanted.as_str()) {
            return Ok(());
        }
        Err(Error::OtherKey { call, found: plain(found.unwrap_or("none")), wanted })
    }

    /// What DescribeKey says of a key, if it is that key.
    pub(crate) fn described_as(&self, id: &KeyId, metadata: Option<KeyMetadata>) -> Result<Key, Error> {
        let key = described(DESCRIBE_KEY, metadata)?;
        self.is_about(DESCRIBE_KEY, id, Some(&key.arn))?;
        if key.id == id.as_str() {
            return Ok(key);
        }
        Err(Error::OtherKey { call: DESCRIBE_KEY, found: plain(&key.id), wanted: id.to_string() })
    }

    /// Makes a key, in whatever account the credentials belong to: what comes back says in which. Where there is no answer, it may be there.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn create(&self, new: &NewKey, within: Duration) -> Result<Key, Error> {
        let tag = |(key, value): (&String, &String)| {
            let tag = Tag::builder().tag_key(key).tag_value(value).build();
            tag.map_err(|error| Error::NotAsked { call: CREATE_KEY, detail: error.to_string() })
        };
        let request = self
            .sdk
            .create_key()
            .key_spec(spec(new.spec))
            .key_usage(KeyUsageType::SignVerify)
            .origin(OriginType::AwsKms)
            .multi_region(false)
            .description(&new.description)
            .set_tags(Some(new.tags.iter().map(tag).collect::<Result<_, _>>()?));
        let answer = self.call(CREATE_KEY, within, request.send())?;
        described(CREATE_KEY, answer.key_metadata)
    }

    /// What KMS says of a key.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn key(&self, id: &KeyId, within: Duration) -> Result<Key, Error> {
        let answer = self.call(DESCRIBE_KEY, within, self.sdk.describe_key().key_id(self.arn(id)).send())?;
        self.described_as(id, answer.key_metadata)
    }

    /// The public key: SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7), DER.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn public_key(&self, id: &KeyId, within: Duration) -> Result<Vec<u8>, Error> {
        let answer = self.call(GET_PUBLIC_KEY, within, self.sdk.get_public_key().key_id(self.arn(id)).send())?;
        self.is_about(GET_PUBLIC_KEY, id, answer.key_id.as_deref())?;
        let key = answer.public_key.ok_or(Error::Lacking { call: GET_PUBLIC_KEY, what: "a public key" })?;
        Ok(key.into_inner())
    }

    /// The tags of a key. One that was made by [`Client::create`] has few; what is on a second page is left out.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn tags(&self, id: &KeyId, within: Duration) -> Result<BTreeMap<String, String>, Error> {
        let answer =
            self.call(LIST_RESOURCE_TAGS, within, self.sdk.list_resource_tags().key_id(self.arn(id)).send())?;
        let tags = answer.tags.unwrap_or_default();
        Ok(tags.into_iter().map(|tag| (tag.tag_key, tag.tag_value)).collect())
    }

    /// Signs. What comes back is not verified here: ECDSA as Ecdsa-Sig-Value (RFC 3279, section 2.2.3), DER, all others as they are. Where there is no
    /// answer, there may be a signature.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn sign(&self, id: &KeyId, algorithm: Algorithm, input: Input<'_>, within: Duration) -> Result<Vec<u8>, Error> {
        let (kind, message) = match input {
            Input::Digest(digest) => (MessageType::Digest, digest),
            Input::Raw(message) => (MessageType::Raw, message),
        };
        let request = self
            .sdk
            .sign()
            .key_id(self.arn(id))
            .message_type(kind)
            .message(Blob::new(message))
            .signing_algorithm(SigningAlgorithmSpec::from(algorithm.name()));
        let answer = self.call(SIGN, within, request.send())?;
        let signature = answer.signature.ok_or(Error::Lacking { call: SIGN, what: "a signature" })?;
        Ok(signature.into_inner())
    }

    /// Schedules the deletion of a key in so many days. From then on it signs nothing.
    ///
    /// # Errors
    /// See [`Error`]; [`Code::Away`] where it is scheduled already.
    pub fn schedule_deletion(&self, id: &KeyId, days: u8, within: Duration) -> Result<(), Error> {
        self.schedule(self.arn(id), days, within)
    }

    /// The same of what [`Client::create`] has just made in another account than the one that is meant.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn take_back(&self, made: &Key, days: u8, within: Duration) -> Result<(), Error> {
        self.schedule(made.arn.clone(), days, within)
    }

    fn schedule(&self, arn: String, days: u8, within: Duration) -> Result<(), Error> {
        let request = self.sdk.schedule_key_deletion().key_id(arn).pending_window_in_days(days.into());
        self.call(SCHEDULE_KEY_DELETION, within, request.send()).map(drop)
    }

    /// Random bytes, at most [`RANDOM_BYTES_MAX`](crate::RANDOM_BYTES_MAX).
    ///
    /// # Errors
    /// See [`Error`].
    pub fn random(&self, bytes: usize, within: Duration) -> Result<Vec<u8>, Error> {
        let count = i32::try_from(bytes).map_err(|_| Error::NotAsked {
            call: GENERATE_RANDOM,
            detail: format!("{bytes} bytes are too many for one call"),
        })?;
        let answer = self.call(GENERATE_RANDOM, within, self.sdk.generate_random().number_of_bytes(count).send())?;
        let drawn = answer.plaintext.map(Blob::into_inner).filter(|drawn| drawn.len() == bytes);
        drawn.ok_or(Error::Lacking { call: GENERATE_RANDOM, what: "as many bytes as were asked for" })
    }

    fn call<T, E>(
        &self,
        call: &'static str,
        within: Duration,
        sent: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, Error>
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        self.run(call, within, async { sent.await.map_err(|error| self.failed(call, &error)) })
    }

    pub(crate) fn run<T>(
        &self,
        call: &'static str,
        within: Duration,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let Some(runtime) = &self.runtime else {
            return Err(Error::SetUp { detail: "it was given up".to_owned() });
        };
        // With a sentence of its own; the library asks for them again.
        self.credentials.check()?;
        let done = runtime.block_on(async { tokio::time::timeout(within, work).await });
        done.unwrap_or_else(|_| {
            let detail = format!("it took longer than {} ms", within.as_millis());
            Err(Error::NoAnswer { call, place: self.place.to_string(), detail })
        })
    }

    /// What a call came to, where it failed.
    pub(crate) fn failed<E>(&self, call: &'static str, error: &SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let place = || self.place.to_string();
        match error {
            SdkError::ConstructionFailure(_) => Error::NotAsked { call, detail: chain(error) },
            SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
                Some(reason) if was_not_reached(reason) => {
                    Error::NotReached { call, place: place(), detail: chain(reason) }
                }
                Some(reason) => Error::NoAnswer { call, place: place(), detail: chain(reason) },
                None => Error::NoAnswer { call, place: place(), detail: chain(error) },
            },
            SdkError::ServiceError(answered) => {
                let (of, status) = (answered.err(), answered.raw().status().as_u16());
                let error = Error::answered(call, of.code(), of.message(), status);
                if error.code() == Some(Code::CredentialsRefused) {
                    self.credentials.forget();
                }
                error
            }
            // Also what the library of tomorrow calls otherwise: it may have been done.
            SdkError::TimeoutError(_) | SdkError::ResponseError(_) | _ => {
                Error::NoAnswer { call, place: place(), detail: chain(error) }
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn was_not_reached(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<NotReached>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// An error with what caused it, once each.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut told: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !told.last().is_some_and(|before| before.contains(&text)) {
            told.push(text);
        }
        next = error.source();
    }
    plain(&told.join(": "))
}

fn spec(spec: Spec) -> KeySpec {
    KeySpec::from(spec.name())
}

fn described(call: &'static str, metadata: Option<KeyMetadata>) -> Result<Key, Error> {
    let metadata = metadata.ok_or(Error::Lacking { call, what: "the key's metadata" })?;
    let KeyMetadata { key_id, arn, aws_account_id, description, key_spec, key_usage, key_state, origin, .. } = metadata;
    let text = |text: Option<&str>| text.unwrap_or("absent").to_owned();
    Ok(Key {
        id: key_id,
        arn: text(arn.as_deref()),
        account: text(aws_account_id.as_deref()),
        description: description.unwrap_or_default(),
        spec: text(key_spec.as_ref().map(KeySpec::as_str)),
        usage: text(key_usage.as_ref().map(KeyUsageType::as_str)),
        state: text(key_state.as_ref().map(aws_sdk_kms::types::KeyState::as_str)),
        origin: text(origin.as_ref().map(OriginType::as_str)),
        manager: text(metadata.key_manager.as_ref().map(aws_sdk_kms::types::KeyManagerType::as_str)),
        multi_region: metadata.multi_region.unwrap_or(false),
        deletion: metadata.deletion_date.map(|date| date.secs()),
    })
}
