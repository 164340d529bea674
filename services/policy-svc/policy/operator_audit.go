package policy

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"time"

	"sallyport/pkg/clock"
	"sallyport/pkg/store"
)

// At makes the office go by another clock than the host's: that of a demo, which is ahead.
func (o *Office) At(c clock.Clock) *Office {
	o.policy.clock = c
	return o
}

// Span is when the first entry of a portal's log was made, and the one that a head names.
func (a *Audit) Span(ctx context.Context, portal string, head Head) (first, last time.Time, err error) {
	one, err := a.docs.entry(ctx, portal, 1)
	if err != nil {
		return first, last, err
	}
	other, err := a.docs.entry(ctx, portal, head.Seq)
	return one.At.UTC(), other.At.UTC(), err
}

// CheckHead looks at the end of a portal's log alone, whatever its length: the head must name an entry that is there
// and whole, and fit it. Its error says what is wrong, or that the store does not answer.
func (a *Audit) CheckHead(ctx context.Context, portal string) error {
	head, err := a.docs.head(ctx, portal)
	if errors.Is(err, store.ErrNotFound) {
		if _, err := a.docs.entry(ctx, portal, 2); errors.Is(err, store.ErrNotFound) {
			return nil // an empty log, or a first entry of a crash
		}
		return errors.New("the head of the log is gone")
	}
	if err != nil {
		return err
	}
	last, err := a.docs.entry(ctx, portal, head.Seq)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("the head names entry %d, which is gone", head.Seq)
	case err != nil:
		return err
	case last.Hash != head.Hash || !hmac.Equal([]byte(last.Hash), []byte(last.sum(last.Prev, a.key))):
		return fmt.Errorf("entry %d is not as it was written", head.Seq)
	}
	return nil
}
