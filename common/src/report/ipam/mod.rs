//! What `calico-ipam` prints. Rows hold exact numbers; only text for people rounds them.

mod address;
mod compat;
mod csv;
mod diff;
mod map;
mod overlap;
mod prometheus;
mod rows;
mod show;
mod top;
mod why;

pub use address::{AddressReport, AddressUser, FoundAddress, addresses};
pub use compat::{block_table, borrowed_table, configuration_table, pool_list};
pub use csv::csv;
pub use diff::{AddressChange, DiffReport, PoolChange, differences};
pub use map::{GridCell, MapReport, PoolGrid, map};
pub use overlap::{OverlapReport, OverlapRow, overlaps};
pub use prometheus::metrics;
pub use rows::{BlockRow, BorrowedRow, PoolRow, SettingRow};
pub use show::{IpamReport, pools, show};
pub use top::{TopReport, TopRow, top};
pub use why::{FamilyAnswer, PoolChance, WhyReport, why};

/// A share as a percentage with one decimal; `–` of nothing.
fn percent(part: u128, of: u128) -> String {
    match of {
        0 => "–".to_owned(),
        _ => format!("{:.1}%", share(part, of) * 100.0),
    }
}

/// A share between 0 and 1. Good to fifteen digits, which is enough to print.
#[allow(clippy::cast_precision_loss, reason = "it is printed with a few digits")]
fn share(part: u128, of: u128) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}

/// `1,234,567`, of numbers that do not fit a machine word as well.
fn grouped(number: u128) -> String {
    if let Ok(small) = usize::try_from(number) {
        return super::number(small);
    }
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut out = digits.get(..first).unwrap_or_default().to_owned();
    for part in digits.get(first..).unwrap_or_default().as_bytes().chunks(3) {
        if !out.is_empty() {
            out.push(',');
        }
        out.extend(part.iter().map(|it| char::from(*it)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_size_are_grouped() {
        assert_eq!(grouped(1_048_576), "1,048,576");
        assert_eq!(grouped(1 << 80), "1,208,925,819,614,629,174,706,176");
        assert_eq!((percent(1, 3), percent(0, 0)), ("33.3%".to_owned(), "–".to_owned()));
    }
}
