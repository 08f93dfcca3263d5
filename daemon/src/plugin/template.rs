//! Key templates: where a store keeps an entity, written as text with fields in braces.
//!
//! Owns parsing and expanding of templates such as `USER#{id}`. Refuses anything but substitution.
//! Invariant: a template that was parsed has balanced braces, and `{{` and `}}` stand for braces.

/// For each column of a primary key its template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTemplate {
    /// Column name and template, in the order of the configuration.
    pub columns: Vec<(String, Template)>,
}

/// A text with fields of the entity in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Its parts, in order.
    pub parts: Vec<Part>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text as it is.
    Text(String),
    /// The value of this field of the entity.
    Field(String),
}

/// A text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace is not closed, or not opened.
    #[error("unbalanced brace at character {0}; write {{{{ or }}}} for a brace itself")]
    Unbalanced(usize),
    /// Nothing stands between the braces.
    #[error("empty braces at character {0}; name a field of the entity")]
    Empty(usize),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// If braces are unbalanced or empty.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars().enumerate().peekable();
        while let Some((at, char)) = chars.next() {
            match char {
                '{' | '}' if chars.peek().is_some_and(|(_, next)| *next == char) => {
                    chars.next();
                    plain.push(char);
                }
                '{' => {
                    let mut field = String::new();
                    loop {
                        match chars.next() {
                            Some((_, '}')) => break,
                            Some((_, inner)) if inner != '{' => field.push(inner),
                            _ => return Err(TemplateError::Unbalanced(at)),
                        }
                    }
                    if field.is_empty() {
                        return Err(TemplateError::Empty(at));
                    }
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Field(field));
                }
                '}' => return Err(TemplateError::Unbalanced(at)),
                other => plain.push(other),
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts })
    }

    /// The one field that the template consists of, if it is that.
    #[must_use]
    pub fn lone_field(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Field(field)] => Some(field),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_read_or_refused() {
        let text = |text: &str| Part::Text(text.to_owned());
        let field = |name: &str| Part::Field(name.to_owned());
        for (given, expected) in [
            ("USER#{id}", Ok(vec![text("USER#"), field("id")])),
            ("{tenant}{id}", Ok(vec![field("tenant"), field("id")])),
            ("{{{id}}}", Ok(vec![text("{"), field("id"), text("}")])),
            ("PROFILE", Ok(vec![text("PROFILE")])),
            ("", Ok(vec![])),
            ("USER#{id", Err(TemplateError::Unbalanced(5))),
            ("id}", Err(TemplateError::Unbalanced(2))),
            ("a{}", Err(TemplateError::Empty(1))),
        ] {
            assert_eq!(Template::parse(given).map(|template| template.parts), expected, "{given}");
        }
    }
}
