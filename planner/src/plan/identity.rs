//! Which store a member must have. Once noted it stays, so that an empty or swapped volume is never taken for it.

use crate::facts::StoreState;

/// What is known of a member's store.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Store<'a> {
    /// In its live settings.
    pub(crate) told: Option<&'a str>,
    /// On its volume claim.
    pub(crate) noted: Option<&'a str>,
    /// What it says itself.
    pub(crate) own: Option<&'a str>,
    pub(crate) state: Option<StoreState>,
    /// Whether what was there before is given up.
    pub(crate) given_up: bool,
}

/// Returns the store that the member must have; `None`: any.
pub(crate) fn decide<'a>(store: &Store<'a>) -> Option<&'a str> {
    let good = matches!(store.state, Some(StoreState::Ok | StoreState::Recovering));
    let lost = matches!(store.state, Some(StoreState::VolumeLost | StoreState::StoreIdentityMismatch));
    let own = store.own.filter(|_| good);
    if store.given_up && lost {
        return None;
    }
    if store.given_up && store.told.is_none() {
        // Not what its claim says: that is what was given up.
        return own;
    }
    store.told.or(store.noted).or(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use StoreState::{Ok, StoreIdentityMismatch, VolumeLost};

    #[test]
    fn a_store_is_expected_for_good_unless_it_is_given_up() {
        let usual =
            Store { told: Some("a"), noted: Some("a"), own: Some("a"), state: Some(Ok), given_up: false };
        let new = Store { told: None, noted: None, ..usual };
        let swapped = Store { own: Some("b"), state: Some(StoreIdentityMismatch), ..usual };
        let lost = Store { own: None, state: Some(VolumeLost), ..usual };
        let cases = [
            ("a new member", Store { own: None, state: None, ..new }, None),
            ("it has made its store", new, Some("a")),
            ("as it should be", usual, Some("a")),
            ("settings are gone", Store { told: None, own: None, state: None, ..usual }, Some("a")),
            ("the volume of another", swapped, Some("a")),
            ("a new member with the volume of another", Store { told: None, noted: None, ..swapped }, None),
            ("an empty volume", lost, Some("a")),
            ("given up", Store { given_up: true, ..lost }, None),
            (
                "given up and begun anew",
                Store { given_up: true, told: None, own: Some("b"), ..usual },
                Some("b"),
            ),
            ("given up, but it is there", Store { given_up: true, ..usual }, Some("a")),
        ];
        for (name, store, expected) in cases {
            assert_eq!(decide(&store), expected, "{name}");
        }
    }
}
