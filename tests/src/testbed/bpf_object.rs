//! The smallest object files that `bpftool prog load` takes: one BPF program of two instructions, which lets everything pass.
//!
//! There is no compiler for BPF on a node, and none is needed for a program whose name and place are all that matters.

/// `EM_BPF` of elf.h.
const MACHINE: u16 = 247;
/// Size of an ELF header and of a section header, in bytes, on 64 bits.
const HEADER: usize = 64;
/// Names of sections; the program's own has an empty prefix that bpftool's `type` overrides.
const NAMES: &[u8] = b"\0.strtab\0.symtab\0prog\0license\0";

/// An object with one program: it is called `name` (at most 15 bytes are kept by the kernel) and returns `answer`.
pub fn returning(name: &str, answer: i32) -> Vec<u8> {
    let mut strings = NAMES.to_vec();
    let symbol_name = strings.len();
    strings.extend(name.as_bytes());
    strings.push(0);
    let program = instructions(answer);
    let symbols = [symbol(0, 0, 0, 0), symbol(symbol_name, 0x12, 1, program.len())].concat();
    let contents: [&[u8]; 4] = [&program, b"GPL\0", &symbols, &strings];
    let mut body = Vec::new();
    let places: Vec<(usize, usize)> = contents
        .iter()
        .map(|content| {
            let place = (HEADER + body.len(), content.len());
            body.extend(*content);
            body.resize(body.len().next_multiple_of(8), 0);
            place
        })
        .collect();
    let name_of =
        |name: &str| NAMES.windows(name.len()).position(|it| it == name.as_bytes()).unwrap_or(0);
    // Kinds: PROGBITS 1, SYMTAB 2, STRTAB 3. Flags: ALLOC and EXECINSTR for the program, ALLOC and WRITE for the licence.
    let sections = [
        Section { name: 0, kind: 0, flags: 0, place: (0, 0), link: 0, info: 0, entry: 0 },
        Section {
            name: name_of("prog\0"),
            kind: 1,
            flags: 6,
            place: places[0],
            link: 0,
            info: 0,
            entry: 0,
        },
        Section {
            name: name_of("license\0"),
            kind: 1,
            flags: 3,
            place: places[1],
            link: 0,
            info: 0,
            entry: 0,
        },
        Section {
            name: name_of(".symtab\0"),
            kind: 2,
            flags: 0,
            place: places[2],
            link: 4,
            info: 1,
            entry: 24,
        },
        Section {
            name: name_of(".strtab\0"),
            kind: 3,
            flags: 0,
            place: places[3],
            link: 0,
            info: 0,
            entry: 0,
        },
    ];
    let mut object = file_header(HEADER + body.len(), sections.len());
    object.extend(body);
    for section in &sections {
        section.write(&mut object);
    }
    object
}

/// `r0 = answer; exit`.
fn instructions(answer: i32) -> Vec<u8> {
    let [a, b, c, d] = answer.to_le_bytes();
    vec![0xb7, 0, 0, 0, a, b, c, d, 0x95, 0, 0, 0, 0, 0, 0, 0]
}

fn symbol(name: usize, info: u8, section: u8, size: usize) -> Vec<u8> {
    let mut bytes = word(name, 4);
    bytes.extend([info, 0, section, 0]);
    bytes.extend(word(0, 8));
    bytes.extend(word(size, 8));
    bytes
}

struct Section {
    name: usize,
    kind: usize,
    flags: usize,
    place: (usize, usize),
    link: usize,
    info: usize,
    entry: usize,
}

impl Section {
    fn write(&self, to: &mut Vec<u8>) {
        let (at, size) = self.place;
        let fields = [(self.name, 4), (self.kind, 4), (self.flags, 8), (0, 8), (at, 8), (size, 8)];
        let rest = [(self.link, 4), (self.info, 4), (8, 8), (self.entry, 8)];
        for (value, bytes) in fields.into_iter().chain(rest) {
            to.extend(word(value, bytes));
        }
    }
}

fn file_header(section_headers: usize, count: usize) -> Vec<u8> {
    // 64 bits, little endian, version 1; then a relocatable file.
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let machine = usize::from(MACHINE);
    let fields =
        [(1, 2), (machine, 2), (1, 4), (0, 8), (0, 8), (section_headers, 8), (0, 4), (HEADER, 2)];
    let rest = [(0, 2), (0, 2), (HEADER, 2), (count, 2), (4, 2)];
    for (value, size) in fields.into_iter().chain(rest) {
        bytes.extend(word(value, size));
    }
    bytes
}

fn word(value: usize, bytes: usize) -> Vec<u8> {
    (value as u64).to_le_bytes()[..bytes].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_lead_to_the_program_and_its_name() {
        let object = returning("cali_tc_test", 3);
        let number = |at: usize, bytes: usize| {
            let mut all = [0; 8];
            all[..bytes].copy_from_slice(&object[at..at + bytes]);
            usize::try_from(u64::from_le_bytes(all)).unwrap()
        };
        let sections = number(40, 8);
        assert_eq!(object.len(), sections + 5 * HEADER);
        let content = |section: usize| {
            let header = sections + section * HEADER;
            let (at, size) = (number(header + 24, 8), number(header + 32, 8));
            object[at..at + size].to_vec()
        };
        assert_eq!(content(1), [0xb7, 0, 0, 0, 3, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(content(2), b"GPL\0");
        let (symbols, strings) = (content(3), content(4));
        assert_eq!(symbols.len(), 48);
        let name = usize::from(symbols[24]);
        assert!(strings[name..].starts_with(b"cali_tc_test\0"));
        let licence = number(sections + 2 * HEADER, 4);
        assert!(strings[licence..].starts_with(b"license\0"));
    }
}
