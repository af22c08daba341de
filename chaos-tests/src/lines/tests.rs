use super::*;

const FILE: &[u8] = b"1\tone\n2\t\n3\t\xff\xfe tab\there\n4\tfour\n";
const GOOD: [&[u8]; 4] = [b"0 0 1\tone", b"1 0 2\t", b"0 1 3\t\xff\xfe tab\there", b"1 1 4\tfour"];

fn check(stream: &[&[u8]]) -> Result<Verified, Violation> {
    let mut checker = Checker::new(NumberedLines::new(FILE)?);
    stream.iter().try_for_each(|line| checker.record(line))?;
    checker.finish()
}

fn with(position: usize, line: &'static [u8]) -> Result<Verified, Violation> {
    let mut stream = GOOD;
    stream[position] = line;
    check(&stream)
}

#[test]
fn each_line_once_and_in_order_is_verified() {
    assert_eq!(check(&GOOD), Ok(Verified { lines: 4, partitions: [(0, 2), (1, 2)].into() }));
    assert_eq!(
        Checker::new(NumberedLines { lines: vec![] }).finish(),
        Ok(Verified { lines: 0, partitions: BTreeMap::new() })
    );
}

#[test]
fn a_lost_line_is_caught_at_the_end_of_a_partition_and_of_all() {
    assert_eq!(check(&GOOD[..3]), Err(Violation::Lost { missing: 1, lines: 4, line: 4 }));
    assert_eq!(check(&[]), Err(Violation::Lost { missing: 4, lines: 4, line: 1 }));
}

#[test]
fn a_lost_line_beyond_the_first_words_of_the_bitmap_is_named() {
    let file: String = (1..=200).map(|line| format!("{line}\t\n")).collect();
    let lines = NumberedLines::new(file.as_bytes());
    let mut checker = lines.map(Checker::new).unwrap_or_else(|violation| panic!("{violation}"));
    for (offset, line) in (1..=200).filter(|line| *line != 131).enumerate() {
        assert_eq!(checker.record(format!("7 {offset} {line}\t").as_bytes()), Ok(()));
    }
    assert_eq!(checker.finish(), Err(Violation::Lost { missing: 1, lines: 200, line: 131 }));
}

#[test]
fn a_duplicate_is_caught_in_its_partition_and_in_another() {
    let again = [GOOD.as_slice(), &[b"1 2 4\tfour"]].concat();
    assert_eq!(check(&again), Err(Violation::Duplicate { record: 5, partition: 1, offset: 2, line: 4 }));
    let elsewhere = [GOOD.as_slice(), &[b"2 0 4\tfour"]].concat();
    assert_eq!(check(&elsewhere), Err(Violation::Duplicate { record: 5, partition: 2, offset: 0, line: 4 }));
}

#[test]
fn swapped_lines_are_caught() {
    let swapped: [&[u8]; 2] = [b"0 0 3\t\xff\xfe tab\there", b"0 1 1\tone"];
    let order = Violation::Order { record: 2, partition: 0, offset: 1, line: 1, after: 3 };
    assert_eq!(check(&swapped), Err(order));
}

#[test]
fn offsets_must_begin_at_zero_and_leave_no_gap() {
    assert_eq!(with(0, b"0 1 1\tone"), Err(Violation::Offset { record: 1, partition: 0, expected: 0, found: 1 }));
    assert_eq!(with(3, b"1 2 4\tfour"), Err(Violation::Offset { record: 4, partition: 1, expected: 1, found: 2 }));
    assert_eq!(with(3, b"1 0 4\tfour"), Err(Violation::Offset { record: 4, partition: 1, expected: 1, found: 0 }));
}

#[test]
fn an_altered_a_missing_and_an_added_byte_are_caught() {
    let altered = |byte| Err(Violation::Altered { record: 4, partition: 1, offset: 1, line: 4, byte });
    assert_eq!(with(3, b"1 1 4\tfouR"), altered(5));
    assert_eq!(with(3, b"1 1 4\tfou"), altered(5));
    assert_eq!(with(3, b"1 1 4\tfour\r"), altered(6));
}

#[test]
fn a_line_the_file_does_not_have_is_caught() {
    for (line, number) in [
        (&b"1 1 5\tfive"[..], "5"),
        (b"1 1 0\tzero", "0"),
        (b"1 1 04\tfour", "04"),
        (b"1 1 +4\tfour", "+4"),
        (b"1 1 ", ""),
        (b"1 1 four", "four"),
        (b"1 1 18446744073709551616\t", "18446744073709551616"),
    ] {
        let unknown = Violation::UnknownLine { record: 4, partition: 1, offset: 1, line: number.to_owned() };
        let mut stream = GOOD;
        stream[3] = line;
        assert_eq!(check(&stream), Err(unknown));
    }
}

#[test]
fn a_stream_of_another_format_is_refused() {
    for line in [&b""[..], b"1", b"1 1", b"a 1 4\tfour", b"1 -1 4\tfour", b"4294967296 0 4\tfour", b"  4\tfour"] {
        let mut stream = GOOD;
        stream[3] = line;
        assert!(matches!(check(&stream), Err(Violation::Malformed { record: 4, .. })), "{line:?}");
    }
}

#[test]
fn a_file_without_numbers_is_refused() {
    for (file, line) in [(&b"1\ta\nb\n"[..], 2), (b"2\ta\n", 1), (b"1\ta\n1\ta\n", 2), (b"1 a\n", 1), (b"1\ta\n\n", 2)]
    {
        assert_eq!(NumberedLines::new(file).err(), Some(Violation::NotNumbered { line }));
    }
    assert_eq!(NumberedLines::new(b"1\ta\n2\tb").map(|lines| lines.lines.len()), Ok(2));
}
