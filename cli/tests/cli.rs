//! What `quorate` prints for help, wrong usage and the failures that need no cluster. The cases are the `.trycmd`
//! files; `TRYCMD=overwrite cargo test -p quorate-cli` rewrites what they expect.

#[test]
fn the_command_line_answers_as_written_down() {
    trycmd::TestCases::new()
        .env("NO_COLOR", "1")
        .env("COLUMNS", "100")
        .env("XDG_STATE_HOME", "/nonexistent/quorate-test")
        .env("QUORATE_SERVER", "127.0.0.1:1")
        .case("tests/cmd/*.trycmd");
}
