//! A share on paper: one page of HTML with a QR code, words, and room for a signature. It loads nothing from anywhere.

use qrcode::{EcLevel, QrCode, render::svg};
use zeroize::Zeroizing;

use super::{QuorumRecord, Share, WORDS};
use crate::{error::CeremonyError, report::escaped, run::defect};

/// Words of a row.
const ROW_WORDS: usize = 4;

/// Pixels of a QR code's side at least.
const QR_PIXELS_MIN: u32 = 320;

/// The page of a share.
pub(crate) fn page(ceremony: &str, record: &QuorumRecord, share: &Share) -> Result<Zeroizing<String>, CeremonyError> {
    let text = share.text(record);
    let code = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::M)
        .map_err(|error| defect(&format!("a QR code could not be drawn: {error}")))?;
    let picture = Zeroizing::new(
        code.render::<svg::Color<'_>>().min_dimensions(QR_PIXELS_MIN, QR_PIXELS_MIN).quiet_zone(true).build(),
    );
    // The picture begins with a declaration of XML, which has no place within a page.
    let picture = picture.find("<svg").and_then(|at| picture.get(at..)).unwrap_or_default();
    let words: Vec<&str> = text.split(' ').rev().take(WORDS).collect();
    let mut rows = Zeroizing::new(String::new());
    for (at, row) in words.iter().rev().collect::<Vec<_>>().chunks(ROW_WORDS).enumerate() {
        rows.push_str("<tr>");
        for (column, word) in row.iter().enumerate() {
            rows.push_str(&format!("<td><small>{}</small> {word}</td>", at * ROW_WORDS + column + 1));
        }
        rows.push_str("</tr>\n");
    }
    let custodian = record.custodians.get(share.number() - 1).map(String::as_str).unwrap_or_default();
    let (custodian, ceremony) = (escaped(custodian), escaped(ceremony));
    let (set, number, of, threshold) = (record.set(), share.number(), record.custodians.len(), record.threshold);
    Ok(Zeroizing::new(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Share {number} of {of}</title>\n\
         <style>body{{font:14pt serif;margin:2cm}}td{{font:16pt monospace;padding:.3em 1em .3em 0}}small{{color:#666}}\
         svg{{width:8cm;height:8cm}}</style></head>\n<body>\n<h1>Share {number} of {of}, set {set}</h1>\n\
         <p>Ceremony <b>{ceremony}</b>. Custodian: <b>{custodian}</b>. Any {threshold} of {of} open the token.\n\
         Keep it sealed, apart from the others, and show it to nobody.</p>\n{picture}\n\
         <p>To enter it, type the number {number} and the {WORDS} words:</p>\n<table>\n{}</table>\n\
         <p>Sealed by ______________________ on ______________</p>\n</body></html>\n",
        rows.as_str()
    )))
}
