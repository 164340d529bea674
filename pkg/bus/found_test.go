package bus

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"sallyport/pkg/bus/permit"
	"sallyport/pkg/contract"
	"sallyport/pkg/embedded"
)

// A service that comes while the keeper is at work waits for the last of what it uses; when its time is over it names
// what is missing.
func TestConnectWaitsForTheKeeper(t *testing.T) {
	passwords, err := permit.Generate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	nats, err := embedded.StartNATS(embedded.NATSOptions{Dir: t.TempDir(), Addr: "127.0.0.1:0", Users: passwords})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nats.Close(context.Background()) })
	as := func(u permit.User, name contract.Service) Options {
		return Options{URL: nats.URL(), Name: name, User: string(u), Password: passwords[u], Log: slog.New(slog.DiscardHandler)}
	}
	// The keeper has made all streams, and nothing else yet.
	keeper, err := Visit(t.Context(), as(permit.Keeper, "keeper"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keeper.Close(context.Background()) })
	keeper.makes = true
	if err := keeper.ensureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range []contract.Service{contract.AuthGateway, contract.Policy, contract.SMSDispatcher, contract.TOTP} {
		short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if _, err := Connect(short, as(permit.User(s), s)); !errors.Is(err, errNotMade) {
			t.Errorf("%s connects to a bus where its consumers are missing: %v", s, err)
		}
		cancel()
	}
	bound, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	connected := make(chan error, 1)
	go func() {
		b, err := Connect(bound, as(permit.User(contract.Policy), contract.Policy))
		if err == nil {
			err = b.Close(bound)
		}
		connected <- err
	}()
	if err := keeper.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-connected; err != nil {
		t.Error(err)
	}
}
