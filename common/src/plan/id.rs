//! Identities of plans: sortable by time, unique without asking anyone.

use super::PlanId;

/// Crockford's base 32: no I, L, O or U, so that an id survives being read aloud.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Digits of an id: 128 bits in groups of five.
const LENGTH: u32 = 26;

impl PlanId {
    /// The id in ULID's form: 48 bits of `milliseconds` since 1970, then 80 bits of `randomness`. Clock and chance
    /// are the caller's, so that tests have neither.
    pub fn new(milliseconds: u64, randomness: [u8; 10]) -> Self {
        let time = u128::from(milliseconds & 0xffff_ffff_ffff);
        let value = randomness.iter().fold(time, |value, byte| (value << 8) | u128::from(*byte));
        let digits = (0..LENGTH).rev().map(|place| {
            let digit = (value >> (5 * place)) & 31;
            usize::try_from(digit)
                .ok()
                .and_then(|digit| DIGITS.get(digit))
                .map_or('0', |it| char::from(*it))
        });
        Self(digits.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_that_of_a_ulid() {
        // The time part of this example is the one of ULID's own specification.
        let id = PlanId::new(1_469_918_176_385, [0xff; 10]);
        assert_eq!(id.0, "01ARYZ6S41ZZZZZZZZZZZZZZZZ");
        assert_eq!(PlanId::new(0, [0; 10]).0, "0".repeat(26));
        assert_eq!(PlanId::new(u64::MAX, [0xff; 10]).0, format!("7{}", "Z".repeat(25)));
    }

    #[test]
    fn later_ids_sort_later_whatever_the_chance() {
        assert!(PlanId::new(1_000, [0xff; 10]) < PlanId::new(1_001, [0; 10]));
        assert_ne!(PlanId::new(1_000, [1; 10]), PlanId::new(1_000, [2; 10]));
    }
}
