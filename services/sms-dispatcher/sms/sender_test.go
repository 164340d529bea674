package sms

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// A call whose time ran out while it was made up, as it does when its process is suspended, does not reach the wire.
func TestNoCallBeginsAfterItsTime(t *testing.T) {
	stack := middleware.NewStack("Publish", smithyhttp.NewStackRequest)
	if err := inTime(stack); err != nil {
		t.Fatal(err)
	}
	calls := 0
	wire := middleware.DecorateHandler(middleware.HandlerFunc(func(context.Context, any) (any, middleware.Metadata, error) {
		calls++
		return &smithyhttp.Response{}, middleware.Metadata{}, nil
	}), stack)
	late, cancel := context.WithDeadline(context.WithoutCancel(t.Context()), time.Now().Add(-time.Millisecond))
	defer cancel()
	if _, _, err := wire.Handle(late, nil); !errors.Is(err, context.DeadlineExceeded) || calls != 0 {
		t.Errorf("late: %v, %d calls", err, calls)
	}
	if _, _, err := wire.Handle(t.Context(), nil); err != nil || calls != 1 {
		t.Errorf("in time: %v, %d calls", err, calls)
	}
}
