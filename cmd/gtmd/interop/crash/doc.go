// Package crash holds the test that kills control between any two steps of a change, a rollout and a clean-up. The steps are the comments
// "gofail: var" in the code; a gtmd is built in which each can stop there. It needs the build tag interop; `make crash` runs it.
package crash
