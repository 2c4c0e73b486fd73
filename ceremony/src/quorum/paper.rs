//! A share on paper: one page with a QR code, words, and room for a signature. Its file says as which kind.

use std::path::Path;

use qrcode::{EcLevel, QrCode};
use zeroize::Zeroizing;

use super::{QuorumRecord, Share, WORDS, html, pdf};
use crate::{error::CeremonyError, run::defect};

/// As what a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paper {
    /// For a browser to print.
    Html,
    /// For a printer.
    Pdf,
}

/// What stands on a page.
pub(super) struct Page<'a> {
    pub(super) ceremony: &'a str,
    pub(super) custodian: &'a str,
    pub(super) set: String,
    pub(super) number: usize,
    pub(super) of: usize,
    pub(super) threshold: usize,
    /// What custodians do with it.
    pub(super) use_of_it: &'static str,
    /// The line that the QR code has.
    pub(super) text: Zeroizing<String>,
    pub(super) code: QrCode,
}

impl Page<'_> {
    /// The words, in their order.
    pub(super) fn words(&self) -> Vec<&str> {
        let all: Vec<&str> = self.text.split(' ').collect();
        all.get(all.len().saturating_sub(WORDS)..).unwrap_or_default().to_vec()
    }
}

impl Paper {
    /// What the name of its file says: `.pdf`, or anything else.
    pub(crate) fn of(path: &Path) -> Self {
        let is_pdf = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("pdf"));
        if is_pdf { Self::Pdf } else { Self::Html }
    }

    /// Whether a custodian's name can stand on it.
    pub(crate) fn has_letters_of(self, name: &str) -> bool {
        self == Self::Html || pdf::latin(name).is_some()
    }

    /// The page of a share.
    pub(crate) fn page(
        self,
        ceremony: &str,
        record: &QuorumRecord,
        share: &Share,
    ) -> Result<Zeroizing<Vec<u8>>, CeremonyError> {
        let text = share.text(record);
        let code = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::M)
            .map_err(|error| defect(&format!("a QR code could not be drawn: {error}")))?;
        let custodian = record.custodians.get(share.number() - 1).map(String::as_str).unwrap_or_default();
        let page = Page {
            ceremony,
            custodian,
            set: record.set(),
            number: share.number(),
            of: record.custodians.len(),
            threshold: record.threshold,
            use_of_it: record.shared.use_of_it(),
            text,
            code,
        };
        match self {
            Self::Html => Ok(Zeroizing::new(html::page(&page).as_bytes().to_vec())),
            Self::Pdf => pdf::page(&page),
        }
    }
}
