//! Tables as calicoctl up to v3.32 draws them, for scripts that read those: same columns, same rounding, same spaces.

use super::{BlockRow, BorrowedRow, PoolRow, SettingRow};

/// `calicoctl ipam show`, with `blocks` as with `--show-blocks`.
pub fn block_table(pools: &[PoolRow], blocks: Option<&[BlockRow]>) -> String {
    let mut rows = Vec::new();
    let of = |pool: Option<&str>| -> Vec<Vec<String>> {
        let its = blocks.into_iter().flatten().filter(|it| it.pool.as_deref() == pool);
        its.map(|it| {
            let free = it.size.saturating_sub(it.not_queued);
            row("Block", &it.cidr, it.size, it.not_queued, free)
        })
        .collect()
    };
    for pool in pools.iter().filter(|it| it.name.is_some()) {
        let size = pool.size.unwrap_or(u128::MAX);
        let free = size.saturating_sub(pool.not_queued);
        rows.push(row("IP Pool", &pool.cidr, size, pool.not_queued, free));
        rows.extend(of(pool.name.as_deref()));
    }
    // What lies in no pool; calicoctl leaves out those of IPv6.
    rows.extend(of(None).into_iter().filter(|row| !row.iter().any(|it| it.contains(':'))));
    boxed(&["GROUPING", "CIDR", "IPS TOTAL", "IPS IN USE", "IPS FREE"], &rows)
}

fn row(kind: &str, cidr: &str, size: u128, used: u128, free: u128) -> Vec<String> {
    let share = |it: u128| {
        let percent = super::share(it, size) * 100.0;
        format!("{} ({}%)", five_digits(it), half_to_even(percent))
    };
    vec![kind.to_owned(), cidr.to_owned(), five_digits(size), share(used), share(free)]
}

/// `%.f` of C and Go.
fn half_to_even(number: f64) -> String {
    format!("{:.0}", number.round_ties_even())
}

/// `%.5g` of C and Go: from 100,000 on five digits and an exponent.
#[allow(clippy::cast_precision_loss, reason = "five digits are printed")]
fn five_digits(number: u128) -> String {
    if number < 100_000 {
        return number.to_string();
    }
    let text = format!("{:.4e}", number as f64);
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    // Rounding up to 100,000 cannot happen: these are whole numbers from 100,000 on.
    format!("{digits}e+{exponent:0>2}")
}

/// `calicoctl ipam show --show-borrowed`.
pub fn borrowed_table(rows: &[BorrowedRow], nameless: usize) -> String {
    let row = |it: &BorrowedRow| {
        vec![
            it.address.clone(),
            it.node.clone(),
            it.block.clone(),
            it.block_owner.clone().unwrap_or_default(),
            it.kind.clone(),
            it.allocated_to.clone(),
        ]
    };
    let head = ["IP", "BORROWING-NODE", "BLOCK", "BLOCK OWNER", "TYPE", "ALLOCATED-TO"];
    let mut out = boxed(&head, &rows.iter().map(row).collect::<Vec<_>>());
    if nameless > 0 {
        out.push_str(&format!(
            "Note: found {nameless} IP allocations without an explicit node association. Unable to determine if they are borrowed.\n"
        ));
    }
    out
}

/// `calicoctl ipam show --show-configuration`.
pub fn configuration_table(rows: &[SettingRow]) -> String {
    let row = |it: &SettingRow| {
        let mut name = it.name.to_owned();
        if let Some(first) = name.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        vec![name, it.value.clone()]
    };
    boxed(&["PROPERTY", "VALUE"], &rows.iter().map(row).collect::<Vec<_>>())
}

/// `calicoctl get ippools -o wide`.
pub fn pool_list(pools: &[PoolRow]) -> String {
    let head = [
        "NAME",
        "CIDR",
        "NAT",
        "IPIPMODE",
        "VXLANMODE",
        "DISABLED",
        "DISABLEBGPEXPORT",
        "SELECTOR",
    ];
    let row = |it: &PoolRow| {
        vec![
            it.name.clone().unwrap_or_default(),
            it.cidr.clone(),
            it.nat_outgoing.to_string(),
            it.ipip_mode.clone(),
            it.vxlan_mode.clone(),
            it.disabled.to_string(),
            it.disable_bgp_export.to_string(),
            it.node_selector.clone(),
        ]
    };
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(pools.iter().filter(|it| it.name.is_some()).map(row));
    let widths = widths(&rows);
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}   "));
        cells.collect::<String>() + "\n"
    };
    // It ends with an empty line.
    rows.iter().map(line).chain(["\n".to_owned()]).collect()
}

fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    (0..columns).map(width).collect()
}

/// A box with its header centred, numbers to the right.
fn boxed(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|it| (*it).to_owned()).collect();
    let mut all = vec![head.clone()];
    all.extend(rows.iter().cloned());
    let widths = widths(&all);
    let rule: String = widths.iter().map(|it| format!("+{}", "-".repeat(it + 2))).collect();
    let rule = format!("{rule}+\n");
    let line = |row: &[String], cell: &dyn Fn(&str, usize) -> String| {
        let cells =
            row.iter().zip(&widths).map(|(text, width)| format!("| {} ", cell(text, *width)));
        cells.collect::<String>() + "|\n"
    };
    let mut out = rule.clone() + &line(&head, &centred) + &rule;
    for row in rows {
        out.push_str(&line(row, &aligned));
    }
    out + &rule
}

fn centred(text: &str, width: usize) -> String {
    let left = width.saturating_sub(text.chars().count()) / 2;
    format!("{:<width$}", format!("{}{text}", " ".repeat(left)))
}

fn aligned(text: &str, width: usize) -> String {
    let is_number = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    if is_number { format!("{text:>width$}") } else { format!("{text:<width$}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_as_calicoctl_rounds() {
        for (number, text) in [
            (65_536, "65536"),
            (99_999, "99999"),
            (100_000, "1e+05"),
            (131_072, "1.3107e+05"),
            (262_144, "2.6214e+05"),
            (1 << 80, "1.2089e+24"),
        ] {
            assert_eq!(five_digits(number), text);
        }
        let halves = [0.5, 1.5, 2.5, 99.5].map(half_to_even);
        assert_eq!(halves, ["0", "2", "2", "100"]);
    }

    /// calicoctl hides counts of 100,000 and more behind an exponent, and its totals with them.
    #[test]
    fn d6_large_numbers_are_whole_in_our_own_tables() {
        assert_eq!(super::super::grouped(131_072), "131,072");
    }
}
