//! Secrets in every position of every record.

use whyslow_abi::{Plain, connection::ConnectionState, plain_bytes, read_plain};

use super::*;

fn zeroed<T: Plain>() -> T {
    read_plain(&vec![0; size_of::<T>()]).unwrap()
}

fn begin(connection: u64, bytes: &[u8]) -> Vec<u8> {
    let mut record: BeginRecord = zeroed();
    record.header.kind = RecordKind::Begin as u32;
    record.connection = connection;
    record.read_len = bytes.len() as u32;
    record.payload_len = bytes.len().min(BEGIN_PAYLOAD) as u32;
    // What lies behind the used part is of another request.
    record.payload.fill(b'S');
    record.payload[..bytes.len()].copy_from_slice(bytes);
    plain_bytes(&record).to_vec()
}

fn piece(connection: u64, offset: u32, bytes: &[u8]) -> Vec<u8> {
    let mut record: PieceRecord = zeroed();
    record.header.kind = RecordKind::Piece as u32;
    record.connection = connection;
    record.offset = offset;
    record.read_len = bytes.len() as u32;
    record.payload_len = bytes.len() as u32;
    record.payload.fill(b'S');
    record.payload[..bytes.len()].copy_from_slice(bytes);
    plain_bytes(&record).to_vec()
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

const HEAD: &[u8] = b"POST /a?token=SECRET HTTP/1.1\r\nCookie: SECRET\r\nHost: h\r\n\
    Content-Length: 6\r\n\r\nSECRET";

#[test]
fn a_head_in_two_records_keeps_no_secret() {
    for cut in 1..HEAD.len() {
        let mut redactor = Redactor::new();
        let mut first = begin(1, &HEAD[..cut]);
        let mut second = piece(1, cut as u32, &HEAD[cut..]);
        let sizes = (first.len(), second.len());
        redactor.redact(&mut first);
        redactor.redact(&mut second);
        assert_eq!(sizes, (first.len(), second.len()));
        let mut joined = first[offset_of!(BeginRecord, payload)..][..cut].to_vec();
        let rest = HEAD.len() - cut;
        joined.extend_from_slice(&second[offset_of!(PieceRecord, payload)..][..rest]);
        assert!(!holds(&joined, b"SECRET"), "cut at {cut}");
        // User information may lie before a cut within the value: then it is blanked.
        let host = if HEAD[..cut].ends_with(b"Host: h") || HEAD[..cut].ends_with(b"Host: h\r") {
            b"Host: *\r\n"
        } else {
            b"Host: h\r\n"
        };
        assert!(holds(&joined, host), "cut at {cut}");
        assert!(
            !holds(&first, b"SS") && !holds(&second, b"SS"),
            "behind the used part"
        );
    }
}

#[test]
fn a_piece_alone_is_blanked() {
    let mut record = piece(9, 100, b"Host: h\r\nCookie: SECRET");
    redact_record(&mut record);
    assert!(!holds(&record, b"SECRET") && !holds(&record, b"Host"));
}

#[test]
fn a_hole_blanks_what_follows() {
    let mut redactor = Redactor::new();
    redactor.redact(&mut begin(1, b"GET / HTTP/1.1\r\nCookie: SEC"));
    let mut record = piece(1, 500, b"RET\r\nHost: h\r\n\r\n");
    redactor.redact(&mut record);
    assert!(!holds(&record, b"RET") && !holds(&record, b"Host"));
}

#[test]
fn responses_keep_status_and_framing() {
    let head = b"HTTP/1.1 200 OK\r\nSet-Cookie: SECRET\r\nContent-Length: 6\r\n\r\nSECRET";
    let mut state: ConnectionState = zeroed();
    state.phase = 2;
    state.captured_out = head.len() as u32;
    state.response.fill(b'S');
    state.response[..head.len()].copy_from_slice(head);
    state.tail = *b"SECRET\r\n";
    let mut bytes = plain_bytes(&state).to_vec();
    Redactor::new().redact_connection(&mut bytes);
    assert!(!holds(&bytes, b"SECRET") && !holds(&bytes, b"SS"));
    assert!(holds(&bytes, b"HTTP/1.1 200 OK\r\nSet-Cookie:*"));
    assert!(holds(&bytes, b"Content-Length: 6\r\n"));
    let mut end: EndRecord = zeroed();
    end.header.kind = RecordKind::End as u32;
    end.state = state;
    let mut record = plain_bytes(&end).to_vec();
    redact_record(&mut record);
    assert!(!holds(&record, b"SECRET"));
}

#[test]
fn bytes_that_are_no_record_are_zeroed() {
    let mut record = vec![b'S'; 2_000];
    redact_record(&mut record);
    assert!(!holds(&record[32..], b"S"));
    let mut cut = begin(1, HEAD);
    cut.truncate(700);
    redact_record(&mut cut);
    assert!(!holds(&cut, b"SECRET"));
    let mut long = begin(1, HEAD);
    long.extend_from_slice(b"SECRET");
    redact_record(&mut long);
    assert!(!holds(&long, b"SECRET"));
}

#[test]
fn tails_keep_the_last_chunk_alone() {
    for (given, expected) in [
        (*b"ab\n0\r\n\r\n", *b"**\n0\r\n\r\n"),
        (*b"secret\r\n", *b"******\r\n"),
        (*b"0\r\n\r\n\0\0\0", *b"0\r\n\r\n\0\0\0"),
        (*b"\0\0\0\0\0\0\0\0", *b"\0\0\0\0\0\0\0\0"),
    ] {
        let mut tail = given;
        redact_tail(&mut tail);
        assert_eq!(tail, expected);
    }
}

#[test]
fn nothing_of_what_is_said_to_servers_is_kept() {
    let mut data: DataRecord = zeroed();
    data.head.header.kind = RecordKind::Data as u32;
    data.head.len = 900;
    data.head.front_len = 512;
    data.tail_len = 64;
    data.front = [b's'; 512];
    data.tail = [b's'; 64];
    let mut record = plain_bytes(&data).to_vec();
    Redactor::new().redact(&mut record);
    let kept: DataRecord = read_plain(&record).unwrap();
    assert_eq!(
        (kept.head.len, kept.head.front_len, kept.tail_len),
        (900, 0, 0)
    );
    assert!(!record.contains(&b's'));

    let mut data: ShortDataRecord = zeroed();
    data.head.header.kind = RecordKind::ShortData as u32;
    data.head.len = 128;
    data.head.front_len = 128;
    data.front = [b's'; 128];
    let mut record = plain_bytes(&data).to_vec();
    Redactor::new().redact(&mut record);
    let kept: ShortDataRecord = read_plain(&record).unwrap();
    assert_eq!((kept.head.len, kept.head.front_len), (128, 0));
    assert!(!record.contains(&b's'));
}

#[test]
fn of_a_command_only_its_name_is_kept() {
    let mut record: ProgramRecord = zeroed();
    record.header.kind = RecordKind::Program as u32;
    let arguments = b"python3\0-W\0SECRET\0/srv/SECRET/manage.py\0--password=SECRET\0";
    // What lies behind the used part is of another program.
    record.arguments.fill(b'S');
    record.arguments[..arguments.len()].copy_from_slice(arguments);
    record.arguments_len = arguments.len() as u32;
    record.arguments_total = arguments.len() as u32;
    record.file.fill(b'S');
    record.file[..17].copy_from_slice(b"/SECRET/python3.9");
    record.file[17] = 0;
    let mut bytes = plain_bytes(&record).to_vec();
    Redactor::new().redact(&mut bytes);
    assert!(!holds(&bytes, b"SECRET") && !holds(&bytes, b"SSS"));
    let Ok(decode::Record::Program(kept)) = decode::record(&bytes) else {
        panic!("it is no record any more");
    };
    let name = |program: &decode::Program| {
        command::command(program.file(), program.arguments(), program.is_cut(), false)
    };
    assert_eq!(name(&kept), "python3.9 manage.py");
    // Once more changes nothing.
    let once = bytes.clone();
    Redactor::new().redact(&mut bytes);
    assert_eq!(bytes, once);
}
