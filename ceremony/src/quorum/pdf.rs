//! A share as a page of PDF, A4, with the fonts that every reader has: nothing is embedded, compressed, or loaded from anywhere.
//!
//! What is written stays where it was written first: the buffers are made large enough before, and whatever outgrows them is a defect, since
//! what a buffer leaves behind when it moves is not wiped.

use pdf_writer::{Content, Finish as _, Name, Pdf, Rect, Ref, Str};
use qrcode::Color;
use zeroize::{Zeroize as _, Zeroizing};

use super::{WORDS, paper::Page};
use crate::{error::CeremonyError, run::defect};

/// Bytes of a page at most: far more than the largest QR code takes.
const PAGE_BYTES_MAX: usize = 524_288;

/// Bytes of what is around a page at most.
const AROUND_BYTES_MAX: usize = 8_192;

/// A4, and where things are on it, in points from the lower left corner.
const PAPER: Rect = Rect { x1: 0.0, y1: 0.0, x2: 595.0, y2: 842.0 };
const LEFT: f32 = 57.0;
const TITLE_HEIGHT: f32 = 770.0;
const WORDS_HEIGHT: f32 = 400.0;
const SEAL_HEIGHT: f32 = 110.0;

/// The QR code: its lower edge, and its side, of 8 cm.
const CODE_HEIGHT: f32 = 460.0;
const CODE_SIDE: f32 = 227.0;

/// Words of a row, and how far columns and rows are from each other.
const ROW_WORDS: usize = 4;
const COLUMN: f32 = 122.0;
const ROW: f32 = 34.0;

const BOLD: Name<'_> = Name(b"B");
const PLAIN: Name<'_> = Name(b"P");
const FIXED: Name<'_> = Name(b"F");

/// Fonts, their faces, and the numbers of the objects that name them; then those of everything else.
const FONTS: [(Name<'_>, &[u8], i32); 3] =
    [(BOLD, b"Helvetica-Bold", 5), (PLAIN, b"Helvetica", 6), (FIXED, b"Courier", 7)];
const OBJECTS: [i32; 4] = [1, 2, 3, 4];

/// The page of a share.
pub(super) fn page(page: &Page<'_>) -> Result<Zeroizing<Vec<u8>>, CeremonyError> {
    let content = content(page)?;
    let [catalog, pages, own, stream] = OBJECTS.map(Ref::new);
    let mut pdf = Pdf::with_capacity(PAGE_BYTES_MAX + AROUND_BYTES_MAX);
    pdf.catalog(catalog).pages(pages);
    pdf.pages(pages).kids([own]).count(1);
    let mut described = pdf.page(own);
    described.media_box(PAPER).parent(pages).contents(stream);
    let mut resources = described.resources();
    let mut named = resources.fonts();
    for (name, _, number) in FONTS {
        named.pair(name, Ref::new(number));
    }
    named.finish();
    resources.finish();
    described.finish();
    for (_, face, number) in FONTS {
        pdf.type1_font(Ref::new(number)).base_font(Name(face)).encoding_predefined(Name(b"WinAnsiEncoding"));
    }
    pdf.stream(stream, &content);
    whole(pdf.finish(), PAGE_BYTES_MAX + AROUND_BYTES_MAX)
}

fn content(page: &Page<'_>) -> Result<Zeroizing<Vec<u8>>, CeremonyError> {
    let mut content = Content::with_capacity(PAGE_BYTES_MAX);
    let Page { ceremony, custodian, set, number, of, threshold, use_of_it, .. } = page;
    let mut height = TITLE_HEIGHT;
    let mut line = |content: &mut Content, font: Name<'_>, size: f32, text: &str| {
        show(content, font, size, (LEFT, height), text)?;
        height -= 1.6 * size;
        Ok::<_, CeremonyError>(())
    };
    line(&mut content, BOLD, 20.0, &format!("Share {number} of {of}, set {set}"))?;
    line(&mut content, PLAIN, 12.0, &format!("Ceremony {ceremony}. Custodian: {custodian}."))?;
    line(&mut content, PLAIN, 12.0, &format!("Any {threshold} of {of} {use_of_it}."))?;
    line(&mut content, PLAIN, 12.0, "Keep it sealed, apart from the others, and show it to nobody.")?;
    draw(&mut content, page);
    let told = format!("To enter it, type the number {number} and the {WORDS} words:");
    show(&mut content, PLAIN, 12.0, (LEFT, WORDS_HEIGHT + ROW), &told)?;
    let mut place = (LEFT, WORDS_HEIGHT);
    for row in page.words().chunks(ROW_WORDS).enumerate() {
        for (column, word) in row.1.iter().enumerate() {
            show(&mut content, PLAIN, 8.0, place, &(row.0 * ROW_WORDS + column + 1).to_string())?;
            show(&mut content, FIXED, 14.0, (place.0 + 14.0, place.1), word)?;
            place.0 += COLUMN;
        }
        place = (LEFT, place.1 - ROW);
    }
    show(&mut content, PLAIN, 12.0, (LEFT, SEAL_HEIGHT), "Sealed by ______________________ on ______________")?;
    whole(content.finish().into_vec(), PAGE_BYTES_MAX)
}

/// The dark modules of the QR code, row by row from above, neighbours in one.
fn draw(content: &mut Content, page: &Page<'_>) {
    let (width, colors) = (page.code.width(), Zeroizing::new(dark(page)));
    let Ok(modules) = u16::try_from(width) else { return };
    let side = CODE_SIDE / f32::from(modules);
    let mut bottom = CODE_HEIGHT + CODE_SIDE;
    for row in colors.chunks(width) {
        bottom -= side;
        let mut left = LEFT;
        for run in row.chunk_by(|one, other| one == other) {
            let length = side * f32::from(u16::try_from(run.len()).unwrap_or(modules));
            if run.first() == Some(&true) {
                content.rect(left, bottom, length, side);
            }
            left += length;
        }
    }
    content.fill_nonzero();
}

/// Whether each module is dark, row by row.
fn dark(page: &Page<'_>) -> Vec<bool> {
    page.code.to_colors().into_iter().map(|color| color == Color::Dark).collect()
}

fn show(content: &mut Content, font: Name<'_>, size: f32, (x, y): (f32, f32), text: &str) -> Result<(), CeremonyError> {
    let letters = Zeroizing::new(latin(text).ok_or_else(|| defect("a page has letters that its fonts lack"))?);
    content.begin_text().set_font(font, size).next_line(x, y).show(Str(&letters)).end_text();
    Ok(())
}

/// A text as the fonts have it (ISO 32000-1, annex D.2, WinAnsiEncoding); none where a letter is missing.
pub(super) fn latin(text: &str) -> Option<Vec<u8>> {
    text.chars()
        .map(|letter| u8::try_from(letter).ok().filter(|byte| matches!(byte, 0x20..=0x7e | 0xa1..=0xff)))
        .collect()
}

/// What was written, if it never moved.
fn whole(mut written: Vec<u8>, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, CeremonyError> {
    if written.len() <= bytes_max {
        return Ok(Zeroizing::new(written));
    }
    written.zeroize();
    Err(defect("a page is larger than it can be"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::quorum::{QuorumRecord, Share, Shared, paper::Paper, split};

    fn one() -> (QuorumRecord, Share, Vec<u8>) {
        let custodians = ["Ada (Lovelace)", "Grace", "J\u{f8}rgen"].map(str::to_owned);
        let (_, record, mut shares) = split(&custodians, 2, Shared::Pin).unwrap();
        let share = shares.pop().unwrap();
        let page = Paper::Pdf.page("pin-2026", &record, &share).unwrap().to_vec();
        (record, share, page)
    }

    fn text(page: &[u8]) -> String {
        page.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '?' }).collect()
    }

    #[test]
    fn a_page_has_the_share_in_words_that_are_entered_again() {
        let (record, share, page) = one();
        let page = text(&page);
        let shown: Vec<&str> = page.split('(').skip(1).map(|part| part.split(") Tj").next().unwrap()).collect();
        assert_eq!(shown[0], format!("Share 3 of 3, set {}", record.set()));
        let words: Vec<&str> =
            page.split("/F 14 Tf").skip(1).map(|part| part.split(['(', ')']).nth(1).unwrap()).collect();
        let again = record.parse(&format!("{} {}", share.number(), words.join(" "))).unwrap();
        assert_eq!(again.text(&record), share.text(&record));
    }

    #[test]
    fn a_page_has_the_qr_code_of_the_share() {
        let (record, share, page) = one();
        let text_of_share = share.text(&record);
        let code = qrcode::QrCode::with_error_correction_level(text_of_share.as_bytes(), qrcode::EcLevel::M).unwrap();
        let side = CODE_SIDE / f32::from(u16::try_from(code.width()).unwrap());
        let mut found = BTreeSet::new();
        for line in text(&page).lines().filter(|line| line.ends_with(" re")) {
            let numbers: Vec<f32> = line.split(' ').take(4).map(|number| number.parse().unwrap()).collect();
            let [left, bottom, length, _] = numbers[..] else { panic!("{line}") };
            let modules = |points: f32| -> usize { format!("{:.0}", points / side).parse().unwrap() };
            let (column, row) = (modules(left - LEFT), modules(CODE_HEIGHT + CODE_SIDE - bottom) - 1);
            found.extend((column..column + modules(length)).map(|column| (row, column)));
        }
        let width = code.width();
        let wanted = code.to_colors().into_iter().enumerate().filter(|(_, color)| *color == Color::Dark);
        assert_eq!(found, wanted.map(|(at, _)| (at / width, at % width)).collect());
    }

    #[test]
    fn every_object_of_the_file_is_where_its_table_says() {
        let (_, _, page) = one();
        assert!(page.starts_with(b"%PDF-1."));
        let page = text(&page);
        let (_, table) = page.rsplit_once("\nxref\n").unwrap();
        let start: usize = page.rsplit_once("startxref\n").unwrap().1.lines().next().unwrap().parse().unwrap();
        assert!(page[start..].starts_with("xref"));
        let offsets = table.lines().filter(|line| line.trim_end().ends_with(" n"));
        for (at, line) in offsets.enumerate() {
            let offset: usize = line.split(' ').next().unwrap().parse().unwrap();
            assert!(page[offset..].starts_with(&format!("{} 0 obj", at + 1)), "{line}");
        }
        assert!(!page.contains("http") && !page.contains("/JavaScript"), "it loads and runs nothing");
    }

    #[test]
    fn letters_that_the_fonts_lack_are_told_before() {
        assert!(Paper::Pdf.has_letters_of("J\u{f8}rgen") && Paper::Html.has_letters_of("\u{421}\u{43e}"));
        for name in ["\u{421}\u{43e}", "Ada\u{a0}", "\u{20ac}"] {
            assert!(!Paper::Pdf.has_letters_of(name), "{name}");
        }
    }
}
