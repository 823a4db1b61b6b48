//! The picture in a page, above a table with every segment.

use std::fmt::Write as _;

use super::strips::Strip;
use crate::svg::xml;
use crate::words;

const STYLE: &str = "body{font:14px sans-serif;margin:16px;color:#222}svg{max-width:100%;height:auto}\
    table{border-collapse:collapse;margin-top:16px}th,td{padding:3px 10px;text-align:right;border-bottom:1px solid #ddd}\
    th:nth-child(-n+3),td:nth-child(-n+3){text-align:left}";

const HEADS: [&str; 9] =
    ["segment", "stream", "age", "live", "expired", "dead", "damaged", "damaged places", "live share"];

/// The page. It runs no script, and loads nothing.
pub fn page(title: &str, drawing: &str, strips: &[Strip]) -> String {
    let title = xml(title);
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title>\n\
         <style>{STYLE}</style></head>\n<body>\n{drawing}<table>\n<tr>"
    );
    // Writing to a String does not fail, here and below.
    for head in HEADS {
        let _ = write!(text, "<th>{head}</th>");
    }
    text.push_str("</tr>\n");
    for strip in strips {
        let cells = [
            strip.name.clone(),
            strip.stream.clone(),
            strip.age.clone(),
            words::size(strip.live),
            words::size(strip.expired),
            words::size(strip.dead),
            words::size(strip.damaged),
            words::grouped(strip.damaged_places),
            strip.live_share(),
        ];
        text.push_str("<tr>");
        for cell in cells {
            let _ = write!(text, "<td>{}</td>", xml(&cell));
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</table>\n</body>\n</html>\n");
    text
}
