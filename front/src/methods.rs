//! The methods of a service, and how large a message each of them takes.

use std::collections::BTreeMap;

use hallmark_proto::{
    FILE_DESCRIPTOR_SET, OPERATOR_SERVICE, SIGNER_SERVICE,
    frame::{LARGE_METHODS, STREAMING_MESSAGE_BYTES_MAX},
};
use prost::Message as _;
use prost_types::{FileDescriptorSet, method_options::IdempotencyLevel};

use crate::error::FrontError;

/// Largest request message, in bytes, of a method that takes a request or a certificate: a CSR of 64 KiB, evidence and room.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1_024;
/// Largest request message, in bytes, of any other method but [`LARGE_METHODS`] and those that stream: names, selections and reasons.
const SMALL_MESSAGE_BYTES_MAX: usize = 16 * 1_024;
/// Methods that take a request or a certificate.
const USUAL_METHODS: [&str; 2] = [MINT, "BringIntermediate"];
const MINT: &str = "MintCertificate";

/// Which service a listener offers.
pub(crate) trait Offered: Send + Sync + 'static {
    /// Its full name.
    const NAME: &'static str;
}

/// The coordinators' service.
pub(crate) struct Signer;

impl Offered for Signer {
    const NAME: &'static str = SIGNER_SERVICE;
}

/// The operators' service.
pub(crate) struct Operator;

impl Offered for Operator {
    const NAME: &'static str = OPERATOR_SERVICE;
}

/// The methods of a service by name.
#[derive(Clone, Debug)]
pub(crate) struct Methods {
    service: &'static str,
    by_name: BTreeMap<String, Shape>,
}

/// How a method is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Largest request message in bytes.
    pub(crate) bytes_max: usize,
    /// Whether the answer is a stream of messages.
    pub(crate) streams: bool,
    /// Whether the same call twice does what it does once: then it is asked again where the core went away with it.
    pub(crate) repeatable: bool,
    /// Whether calls of it wait for a CA key in such numbers that they are admitted only where they are answered in time.
    pub(crate) queues: bool,
}

impl Methods {
    /// Reads them from the descriptors that are compiled in, so that a new method needs no line here unless its messages are long.
    pub(crate) fn read(service: &'static str) -> Result<Self, FrontError> {
        let files =
            FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).map_err(|source| FrontError::Descriptors { source })?.file;
        let services = files.into_iter().flat_map(|file| {
            let package = file.package().to_owned();
            file.service.into_iter().map(move |service| (format!("{package}.{}", service.name()), service))
        });
        let methods = services.filter(|(name, _)| name == service).flat_map(|(_, service)| service.method);
        let one_question = methods.filter(|method| !method.client_streaming());
        let by_name = one_question.map(|method| {
            let level =
                method.options.as_ref().map_or(IdempotencyLevel::IdempotencyUnknown, |it| it.idempotency_level());
            let shape = Shape {
                bytes_max: message_bytes_max(method.name(), method.server_streaming()),
                streams: method.server_streaming(),
                repeatable: level != IdempotencyLevel::IdempotencyUnknown,
                queues: method.name() == MINT,
            };
            (method.name().to_owned(), shape)
        });
        let by_name = by_name.collect();
        Ok(Self { service, by_name })
    }

    /// The method of a request path.
    pub(crate) fn of_path(&self, path: &str) -> Option<(&str, Shape)> {
        let method = path.strip_prefix('/')?.strip_prefix(self.service)?.strip_prefix('/')?;
        self.by_name.get_key_value(method).map(|(name, shape)| (name.as_str(), *shape))
    }
}

fn message_bytes_max(method: &str, streams: bool) -> usize {
    match LARGE_METHODS.iter().find(|(name, _)| *name == method) {
        Some((_, bytes)) => *bytes,
        // Its question is kept for as long as the stream goes on.
        None if streams => STREAMING_MESSAGE_BYTES_MAX,
        None if USUAL_METHODS.contains(&method) => MESSAGE_BYTES_MAX,
        None => SMALL_MESSAGE_BYTES_MAX,
    }
}

#[cfg(test)]
mod tests {
    use hallmark_proto::frame::STREAMING_METHODS;

    use super::*;

    fn unary(bytes_max: usize) -> Shape {
        Shape { bytes_max, streams: false, repeatable: true, queues: false }
    }

    #[test]
    fn what_an_operator_changes_is_not_asked_twice() {
        let methods = Methods::read(OPERATOR_SERVICE).unwrap();
        let mut repeatable: Vec<_> = methods.by_name.iter().filter(|(_, shape)| shape.repeatable).collect();
        repeatable.retain(|(name, _)| {
            !["PolicyStatus", "ShowInstance", "FindCertificates", "Metrics"].contains(&name.as_str())
        });
        assert!(repeatable.iter().all(|(name, _)| name.starts_with("List")), "{repeatable:?}");
        assert!(Methods::read(SIGNER_SERVICE).unwrap().by_name.values().all(|shape| shape.repeatable));
    }

    #[test]
    fn a_method_that_streams_is_known_as_such() {
        let methods = Methods::read(SIGNER_SERVICE).unwrap();
        let (_, shape) = methods.of_path("/hallmark.signer.v1.Signer/WatchEpochs").unwrap();
        assert!(shape.streams);
    }

    #[test]
    fn the_core_s_door_knows_the_methods_that_stream_and_no_others() {
        let all = [SIGNER_SERVICE, OPERATOR_SERVICE].map(|service| Methods::read(service).unwrap().by_name);
        let streaming: Vec<_> = all.iter().flatten().filter(|(_, shape)| shape.streams).collect();
        assert_eq!(streaming.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), STREAMING_METHODS);
        assert!(streaming.iter().all(|(_, shape)| shape.bytes_max == STREAMING_MESSAGE_BYTES_MAX));
    }

    #[test]
    fn each_name_of_a_method_that_takes_more_is_one() {
        let all = [SIGNER_SERVICE, OPERATOR_SERVICE].map(|service| Methods::read(service).unwrap().by_name);
        let large = LARGE_METHODS.iter().map(|(name, _)| *name);
        for name in large.chain(USUAL_METHODS) {
            assert!(all.iter().any(|methods| methods.contains_key(name)), "{name}");
        }
    }

    #[test]
    fn methods_are_found_by_their_whole_path() {
        let methods = Methods::read(SIGNER_SERVICE).unwrap();
        let path = "/hallmark.signer.v1.Signer/MintCertificate";
        assert_eq!(
            methods.of_path(path),
            Some(("MintCertificate", Shape { queues: true, ..unary(MESSAGE_BYTES_MAX) }))
        );
        for path in ["", "/", "MintCertificate", "/hallmark.signer.v1.Signer/", "/hallmark.signer.v1.Signer/Mint"] {
            assert_eq!(methods.of_path(path), None);
        }
        assert_eq!(methods.of_path(&format!("{path}/")), None);
    }

    #[test]
    fn a_service_does_not_have_the_methods_of_another() {
        let (signer, operator) = (Methods::read(SIGNER_SERVICE).unwrap(), Methods::read(OPERATOR_SERVICE).unwrap());
        let apply = "/hallmark.operator.v1.Operator/ApplyPolicy";
        assert_eq!(
            operator.of_path(apply),
            Some(("ApplyPolicy", Shape { repeatable: false, ..unary((1_024 + 64) * 1_024) }))
        );
        for path in [apply, "/hallmark.signer.v1.Signer/ApplyPolicy"] {
            assert_eq!(signer.of_path(path), None);
        }
        assert_eq!(operator.of_path("/hallmark.operator.v1.Operator/MintCertificate"), None);
    }

    #[test]
    fn only_a_rotation_takes_a_manifest() {
        assert_eq!(message_bytes_max("RotateIntermediate", false), 17 * 1_024 * 1_024);
        assert_eq!(message_bytes_max("MintCertificate", false), MESSAGE_BYTES_MAX);
        assert_eq!(message_bytes_max("GetChain", false), SMALL_MESSAGE_BYTES_MAX);
    }
}
