//! The nearest names.
//!
//! Owns the choice of names that a message offers for one that is not there. Refuses to list all.
//! Invariant: at most three, the nearest first, and none that has nothing in common.

/// The names of `known` that are nearest to `name`.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<String> {
    let wanted = name.to_lowercase();
    let mut scored: Vec<_> = known
        .map(|known| (strsim::jaro_winkler(&wanted, &known.to_lowercase()), known))
        .filter(|(score, _)| *score >= 0.7)
        .collect();
    scored.sort_by(|(a, x), (b, y)| b.total_cmp(a).then_with(|| x.cmp(y)));
    scored.into_iter().take(3).map(|(_, known)| known.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_the_nearest_first_and_nothing_far() {
        let known = ["users", "user_addresses", "orders", "zz"];
        assert_eq!(nearest("usres", known.into_iter())[0], "users");
        assert_eq!(nearest("USERS", known.into_iter())[0], "users");
        assert!(nearest("qqqq", known.into_iter()).is_empty());
    }
}
