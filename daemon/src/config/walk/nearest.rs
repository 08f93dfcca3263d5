//! Names that a person may have meant.
//!
//! Owns the measure of nearness. Refuses to guess from far away. Invariant: the nearest comes first,
//! equally near names in the order given.

/// Up to three of `known` that are near `name`.
pub(in crate::config) fn nearest<'k>(name: &str, known: &[&'k str]) -> Vec<&'k str> {
    let folded = |text: &str| text.to_lowercase().replace(['-', '.', ' '], "_");
    let name = folded(name);
    let nearness = |candidate: &str| {
        let candidate = folded(candidate);
        // A name that contains the other is near whatever its length: `rows` and `rows_per_second`.
        let within = name.len().min(candidate.len()) >= 3
            && (candidate.contains(&name) || name.contains(&candidate));
        let distance = strsim::normalized_damerau_levenshtein(&name, &candidate);
        if within { distance.max(0.55) } else { distance }
    };
    let mut near: Vec<_> = known.iter().map(|known| (nearness(known), *known)).collect();
    near.retain(|(nearness, _)| *nearness >= 0.5);
    near.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    near.into_iter().map(|(_, known)| known).take(3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["host", "port", "password", "rows_per_second", "too-much-drift"];
        for (name, expected) in [
            ("hots", vec!["host"]),
            ("passwrd", vec!["password"]),
            ("rows", vec!["rows_per_second"]),
            ("Too_Much_Drift", vec!["too-much-drift"]),
            ("colour", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(nearest(name, &known), expected, "{name}");
        }
    }
}
