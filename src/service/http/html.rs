//! HTML in which no text of others can become markup: what is not written in this program is
//! escaped, there is no other way in.

/// Characters of a text that are shown.
const LONGEST: usize = 1_200;

/// A page that grows.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup as it stands in the program.
    pub fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text, or a value between double quotes. Control characters and those that turn the direction
    /// of text are shown as a box; what is too long is cut.
    pub fn text(&mut self, text: impl AsRef<str>) -> &mut Self {
        for (number, letter) in text.as_ref().chars().enumerate() {
            if number == LONGEST {
                self.0.push('…');
                break;
            }
            match letter {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    self.0.push('□')
                }
                letter if letter.is_control() => self.0.push('□'),
                letter => self.0.push(letter),
            }
        }
        self
    }

    /// Text whose parts between backticks are commands or settings.
    pub fn prose(&mut self, text: &str) -> &mut Self {
        for (number, part) in text.split('`').enumerate() {
            match number % 2 {
                0 => self.text(part),
                _ => self.raw("<code>").text(part).raw("</code>"),
            };
        }
        self
    }

    /// The whole of it.
    pub fn done(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_never_becomes_markup() {
        for (text, want) in [
            ("plain", "plain"),
            ("<script>alert('x')</script>", "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"),
            ("\" onload=\"x", "&quot; onload=&quot;x"),
            ("&lt;", "&amp;lt;"),
            ("a\u{202e}b\nc\0d", "a□b□c□d"),
            ("ünïcode 日本", "ünïcode 日本"),
        ] {
            let mut html = Html::default();
            html.raw("<b>").text(text).raw("</b>");
            assert_eq!(html.done(), format!("<b>{want}</b>"));
        }
        let mut html = Html::default();
        html.prose("Run `a <b>`, then `c`.");
        assert_eq!(html.done(), "Run <code>a &lt;b&gt;</code>, then <code>c</code>.");
        let mut html = Html::default();
        html.text("<".repeat(5_000));
        assert_eq!(html.done(), "&lt;".repeat(LONGEST) + "…");
    }
}
