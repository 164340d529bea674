package sms

import (
	"fmt"
	"io"

	"sallyport/pkg/secret"
)

// newCode draws six digits. Three random bytes give a number below 2^24; those from the last incomplete million on
// are thrown away, so that each of the million codes is equally likely.
func newCode(random io.Reader) (secret.String, error) {
	const codes, usable = 1_000_000, 16_000_000 // 16 whole millions below 2^24
	for {
		var b [3]byte
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return secret.String{}, fmt.Errorf("new code: %w", err)
		}
		if n := int(b[0])<<16 | int(b[1])<<8 | int(b[2]); n < usable {
			return secret.New(fmt.Sprintf("%06d", n%codes)), nil
		}
	}
}
