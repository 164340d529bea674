//go:build !race

package totp

// crowd divides how many calls a test makes at once.
const crowd = 1
