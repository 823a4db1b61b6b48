//! Row 13's canary: a buffer that is given back before the kernel has answered must be found.

use esker_proof::row::{Order, Row, Slice, Verdict};
use esker_proof::rows::memory::ROW;

#[test]
fn canary_a_buffer_given_back_too_early_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let order = Order { canary: true, dir: dir.path().to_owned(), ..Order::new(Slice::Ci, 0) };
    let outcome = ROW.run(&order).expect("it runs");
    assert_eq!(outcome.verdict, Verdict::Failed, "{}", outcome.figure);
}
