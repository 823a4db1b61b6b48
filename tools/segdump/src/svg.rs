//! Pictures as text: just the shapes that are needed, and every word escaped.

use std::fmt::Write as _;

use esker::inspect::escape;

/// A picture that is being drawn.
#[derive(Debug, Default)]
pub struct Svg {
    body: String,
}

/// Where a text stands to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// To its right.
    Start,
    /// Around it.
    Middle,
    /// To its left.
    End,
}

impl Svg {
    /// A rectangle of a class; nothing if it has no width.
    pub fn rect(&mut self, class: &str, [x, y, width, height]: [f64; 4]) {
        if width > 0.0 {
            // Writing to a String does not fail, here and below.
            let _ = writeln!(
                self.body,
                "<rect class=\"{class}\" x=\"{x:.2}\" y=\"{y:.2}\" width=\"{width:.2}\" height=\"{height:.2}\"/>"
            );
        }
    }

    /// A text of a class.
    pub fn text(&mut self, class: &str, anchor: Anchor, [x, y]: [f64; 2], text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = xml(text);
        let _ = writeln!(
            self.body,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
        );
    }

    /// What is drawn until [`Svg::end_group`] belongs together, and says this to a pointer that rests on it.
    pub fn begin_group(&mut self, title: &str) {
        let _ = writeln!(self.body, "<g><title>{}</title>", xml(title));
    }

    /// The end of what belongs together.
    pub fn end_group(&mut self) {
        self.body.push_str("</g>\n");
    }

    /// The whole picture, of this size and with these styles.
    pub fn finish(self, title: &str, style: &str, [width, height]: [f64; 2]) -> String {
        let (title, body) = (xml(title), self.body);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" role=\"img\">\n<title>{title}</title>\n<style>{style}</style>\n<rect class=\"paper\" \
             width=\"100%\" height=\"100%\"/>\n{body}</svg>\n"
        )
    }
}

/// Text that is neither markup nor steers anything, whatever it was.
pub fn xml(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in escape(text.as_bytes()).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::{Anchor, Svg, xml};

    #[test]
    fn no_text_is_markup() {
        assert_eq!(xml("<b a=\"1\" b='2'>&\0\u{1b}"), "&lt;b a=&quot;1&quot; b=&#39;2&#39;&gt;&amp;\\0\\u{1b}");
        let mut svg = Svg::default();
        svg.begin_group("</title><script>");
        svg.text("t", Anchor::Start, [0.0, 0.0], "</text><script>");
        svg.end_group();
        assert!(!svg.finish("</svg><script>", "", [1.0, 1.0]).contains("<script"));
    }
}
