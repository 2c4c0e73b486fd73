//! The methods of a service, and how large a message each of them takes.

use std::collections::BTreeMap;

use hallmark_proto::{FILE_DESCRIPTOR_SET, frame::LARGE_METHODS};
use prost::Message as _;
use prost_types::{FileDescriptorSet, method_options::IdempotencyLevel};

use crate::error::FrontError;

/// Largest request message, in bytes, of a method that is not among [`LARGE_METHODS`]: a CSR of 64 KiB, evidence and room.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1_024;
const MINT: &str = "MintCertificate";

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
    /// Reads them from the descriptors that are compiled in, so that a new method needs no line here.
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
                bytes_max: message_bytes_max(method.name()),
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

fn message_bytes_max(method: &str) -> usize {
    LARGE_METHODS.iter().find(|(name, _)| *name == method).map_or(MESSAGE_BYTES_MAX, |(_, bytes)| *bytes)
}

#[cfg(test)]
mod tests {
    use hallmark_proto::{OPERATOR_SERVICE, SIGNER_SERVICE};

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
        assert_eq!(message_bytes_max("RotateIntermediate"), 17 * 1_024 * 1_024);
        assert_eq!(message_bytes_max("GetChain"), MESSAGE_BYTES_MAX);
    }
}
