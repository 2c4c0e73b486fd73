//! The wire: `hallmark.signer.v1`, which coordinators speak, `hallmark.operator.v1`, which operators speak, and `hallmark.link.v1`, the frames between front and core.
//!
//! Only messages live here, generated at build time, the names of status codes and of what fronts count, and how frames follow one another; no rule about their content does.

pub mod counts;
pub mod frame;
pub mod status;

/// As generated: packages refer to one another by their place.
mod hallmark {
    pub(crate) mod signer {
        pub(crate) mod v1 {
            tonic::include_proto!("hallmark.signer.v1");
        }
    }
    pub(crate) mod operator {
        pub(crate) mod v1 {
            tonic::include_proto!("hallmark.operator.v1");
        }
    }
    pub(crate) mod link {
        pub(crate) mod v1 {
            tonic::include_proto!("hallmark.link.v1");
        }
    }
}

/// The coordinator's interface.
pub mod signer {
    pub use crate::hallmark::signer::v1::*;
}

/// The operators' interface.
pub mod operator {
    pub use crate::hallmark::operator::v1::*;
}

/// The frames between front and core.
pub mod link {
    pub use crate::hallmark::link::v1::*;

    /// Longest header `traceparent` that goes on to the core, in bytes; what is longer is as if it were not there.
    pub const TRACE_PARENT_BYTES_MAX: usize = 256;
}

/// The serialised `FileDescriptorSet` of all packages, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Fully qualified name of the coordinator's service.
pub const SIGNER_SERVICE: &str = "hallmark.signer.v1.Signer";

/// Fully qualified name of the operators' service.
pub const OPERATOR_SERVICE: &str = "hallmark.operator.v1.Operator";
