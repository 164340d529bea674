package bus

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
)

// A request about a stream that nobody answered is made again; an answer, however unwelcome, is not asked for twice.
func TestAskedAgainWhenNobodyAnswers(t *testing.T) {
	refused := errors.New("refused")
	for name, c := range map[string]struct {
		answers []error
		want    error
	}{
		"answered":            {[]error{nil}, nil},
		"refused":             {[]error{refused}, refused},
		"lost, then answered": {[]error{context.DeadlineExceeded, nats.ErrTimeout, nil}, nil},
		"lost, then refused":  {[]error{context.DeadlineExceeded, refused}, refused},
	} {
		t.Run(name, func(t *testing.T) {
			asks := 0
			err := asked(t.Context(), func(ctx context.Context) error {
				if _, bounded := ctx.Deadline(); !bounded {
					t.Error("a request without a bound")
				}
				asks++
				return c.answers[asks-1]
			})
			if !errors.Is(err, c.want) || asks != len(c.answers) {
				t.Errorf("%v after %d requests, want %v after %d", err, asks, c.want, len(c.answers))
			}
		})
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := asked(over, func(context.Context) error { return context.DeadlineExceeded }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with the starter gone: %v", err)
	}
}
