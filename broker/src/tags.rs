//! Filtering by tag (P§8.5): by hash only; clients compare the text.

use protocol::properties::tags_code;

/// Which messages a consumer wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagFilter {
    /// Every one.
    All,
    /// Those whose tags have one of these codes, sorted.
    Codes(Vec<i64>),
}

impl TagFilter {
    /// Reads an expression: `*`, nothing, or tags separated by `||`; `None` if there are only separators.
    pub fn parse(expression: &str) -> Option<TagFilter> {
        let expression = expression.trim();
        if expression.is_empty() || expression == "*" {
            return Some(TagFilter::All);
        }
        let tags = expression.split("||").map(str::trim).filter(|t| !t.is_empty());
        let mut codes: Vec<i64> = tags.map(|t| tags_code(Some(t))).collect();
        codes.sort_unstable();
        codes.dedup();
        (!codes.is_empty()).then_some(TagFilter::Codes(codes))
    }

    /// Says whether a message may be wanted.
    pub fn matches(&self, tags_code: i64) -> bool {
        match self {
            TagFilter::All => true,
            TagFilter::Codes(codes) => codes.binary_search(&tags_code).is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_java_reads_them() {
        assert_eq!(TagFilter::parse(" * "), Some(TagFilter::All));
        assert_eq!(TagFilter::parse(""), Some(TagFilter::All));
        assert_eq!(TagFilter::parse(" || "), None);
        let ab = TagFilter::parse("A || B").unwrap();
        assert!(ab.matches(tags_code(Some("A"))) && ab.matches(tags_code(Some("B"))) && !ab.matches(0));
        assert!(
            TagFilter::parse("Aa").unwrap().matches(tags_code(Some("BB"))),
            "equal hashes pass; the client looks at the text"
        );
    }
}
