//go:build race

package totp

// Under the race detector the embedded store is ten times slower, and what it does not answer within a second and a
// half is given up.
const crowd = 5
