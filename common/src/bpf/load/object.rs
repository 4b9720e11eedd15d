//! An object file with the smallest program that there is, written here: hosts have no compiler for BPF.

/// `EM_BPF` of elf.h.
const MACHINE: u16 = 247;
/// Bytes of the file's header, and of each section's header, on 64 bits.
const HEADER: u16 = 64;
/// Bytes of a symbol.
const SYMBOL: u64 = 24;
/// Names within the file; each is ended by a zero byte.
const NAMES: &str = "\0prog\0license\0.symtab\0.strtab\0kubectl_calico\0";
/// `r0 = -1; exit`: go on as if nothing had been there.
const PROGRAM: [u8; 16] = [0xb7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x95, 0, 0, 0, 0, 0, 0, 0];
const LICENCE: &[u8] = b"GPL\0";

/// A section: name, kind and flags as elf.h numbers them, what it holds, and what belongs to symbols only.
struct Section<'a> {
    name: &'static str,
    kind: u32,
    flags: u64,
    content: &'a [u8],
    link: u32,
    info: u32,
    entry: u64,
}

/// The object file. The program is in section `prog`.
pub fn scratch_program() -> Vec<u8> {
    let symbols = symbols();
    let plain = |name, kind, flags, content| Section {
        name,
        kind,
        flags,
        content,
        link: 0,
        info: 0,
        entry: 0,
    };
    let sections = [
        plain("", 0, 0, &[][..]),
        // PROGBITS; ALLOC and EXECINSTR.
        plain("prog", 1, 6, &PROGRAM[..]),
        // PROGBITS; WRITE and ALLOC.
        plain("license", 1, 3, LICENCE),
        // SYMTAB; its names are in section 4, and one of its symbols is local.
        Section { link: 4, info: 1, entry: SYMBOL, ..plain(".symtab", 2, 0, &symbols[..]) },
        // STRTAB
        plain(".strtab", 3, 0, NAMES.as_bytes()),
    ];
    let mut body = Vec::new();
    let mut headers = Vec::new();
    for section in &sections {
        let at = u64::from(HEADER) + length(&body);
        body.extend(section.content);
        body.resize(body.len().next_multiple_of(8), 0);
        headers.extend(header(section, at));
    }
    let mut object = file_header(u64::from(HEADER) + length(&body));
    object.extend(body);
    object.extend(headers);
    object
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Where a name begins in [`NAMES`]; the empty name is at its begin.
fn name_at(name: &str) -> u32 {
    let ended = format!("\0{name}\0");
    let at = NAMES.find(&ended).map_or(0, |it| it + 1);
    if name.is_empty() { 0 } else { u32::try_from(at).unwrap_or(0) }
}

/// The empty symbol that every table begins with, and the program: a global function of section 1.
fn symbols() -> Vec<u8> {
    let mut bytes = vec![0; 24];
    bytes.extend(name_at(super::PROGRAM).to_le_bytes());
    bytes.extend([0x12, 0]);
    bytes.extend(1_u16.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(length(&PROGRAM).to_le_bytes());
    bytes
}

fn header(section: &Section<'_>, at: u64) -> Vec<u8> {
    let empty = section.kind == 0;
    let mut bytes = Vec::new();
    bytes.extend(name_at(section.name).to_le_bytes());
    bytes.extend(section.kind.to_le_bytes());
    bytes.extend(section.flags.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(if empty { 0 } else { at }.to_le_bytes());
    bytes.extend(length(section.content).to_le_bytes());
    bytes.extend(section.link.to_le_bytes());
    bytes.extend(section.info.to_le_bytes());
    bytes.extend(if empty { 0_u64 } else { 8 }.to_le_bytes());
    bytes.extend(section.entry.to_le_bytes());
    bytes
}

fn file_header(headers_at: u64) -> Vec<u8> {
    // 64 bits, little endian, version 1.
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // A relocatable file.
    bytes.extend(1_u16.to_le_bytes());
    bytes.extend(MACHINE.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(headers_at.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    // Sizes: of this header, of program headers, of which there are none, and of section headers, of which there are five.
    for value in [HEADER, 0, 0, HEADER, 5, 4] {
        bytes.extend(value.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_lead_to_the_program() {
        let object = scratch_program();
        let number = |at: usize| {
            let number = u64::from_le_bytes(object[at..at + 8].try_into().unwrap());
            usize::try_from(number).unwrap()
        };
        let headers = number(40);
        assert_eq!(object.len(), headers + 5 * usize::from(HEADER));
        let content = |section: usize| {
            let header = headers + section * usize::from(HEADER);
            let (at, size) = (number(header + 24), number(header + 32));
            object[at..at + size].to_vec()
        };
        assert_eq!(content(1), PROGRAM);
        assert_eq!(content(2), LICENCE);
        assert_eq!(content(4), NAMES.as_bytes());
        let name = usize::from(content(3)[24]);
        assert!(NAMES[name..].starts_with("kubectl_calico\0"));
    }
}
