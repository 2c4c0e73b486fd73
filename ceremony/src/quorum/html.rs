//! A share as a page of HTML. It loads nothing from anywhere.

use qrcode::render::svg;
use zeroize::Zeroizing;

use super::{WORDS, paper::Page};
use crate::report::escaped;

/// Words of a row.
const ROW_WORDS: usize = 4;

/// Pixels of a QR code's side at least.
const QR_PIXELS_MIN: u32 = 320;

/// The page of a share.
pub(super) fn page(page: &Page<'_>) -> Zeroizing<String> {
    let picture = Zeroizing::new(
        page.code.render::<svg::Color<'_>>().min_dimensions(QR_PIXELS_MIN, QR_PIXELS_MIN).quiet_zone(true).build(),
    );
    // The picture begins with a declaration of XML, which has no place within a page.
    let picture = picture.find("<svg").and_then(|at| picture.get(at..)).unwrap_or_default();
    let mut rows = Zeroizing::new(String::new());
    for (at, row) in page.words().chunks(ROW_WORDS).enumerate() {
        rows.push_str("<tr>");
        for (column, word) in row.iter().enumerate() {
            rows.push_str(&format!("<td><small>{}</small> {word}</td>", at * ROW_WORDS + column + 1));
        }
        rows.push_str("</tr>\n");
    }
    let (custodian, ceremony) = (escaped(page.custodian), escaped(page.ceremony));
    let Page { set, number, of, threshold, use_of_it, .. } = page;
    Zeroizing::new(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Share {number} of {of}</title>\n\
         <style>body{{font:14pt serif;margin:2cm}}td{{font:16pt monospace;padding:.3em 1em .3em 0}}small{{color:#666}}\
         svg{{width:8cm;height:8cm}}</style></head>\n<body>\n<h1>Share {number} of {of}, set {set}</h1>\n\
         <p>Ceremony <b>{ceremony}</b>. Custodian: <b>{custodian}</b>. Any {threshold} of {of} {use_of_it}.\n\
         Keep it sealed, apart from the others, and show it to nobody.</p>\n{picture}\n\
         <p>To enter it, type the number {number} and the {WORDS} words:</p>\n<table>\n{}</table>\n\
         <p>Sealed by ______________________ on ______________</p>\n</body></html>\n",
        rows.as_str()
    ))
}
