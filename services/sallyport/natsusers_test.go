package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/pkg/bus"
	"sallyport/pkg/bus/permit"
	"sallyport/pkg/contract"
	"sallyport/pkg/embedded"
	"sallyport/pkg/seal"
)

// An installation that had no users on its NATS gets them at its next start, keeps what it had, and lets nobody else in.
func TestAnOlderInstallationGetsNATSUsers(t *testing.T) {
	p := place{Data: t.TempDir(), Listen: freeAddr(t), Ops: freeAddr(t), Sandbox: freeAddr(t), NATS: freeAddr(t), Store: freeAddr(t)}
	log := slog.New(slog.DiscardHandler)
	if _, err := seal.Generate(filepath.Join(p.Data, "keys"), services(), false); err != nil {
		t.Fatal(err)
	}
	old, err := embedded.StartNATS(embedded.NATSOptions{Dir: filepath.Join(p.Data, "nats"), Addr: p.NATS})
	if err != nil {
		t.Fatal(err)
	}
	gateway := bus.Options{URL: old.URL(), Name: contract.AuthGateway, Log: log}
	before, err := bus.Connect(t.Context(), gateway)
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := bus.OpenKV[string](t.Context(), before, contract.Sessions)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sessions.Create(t.Context(), "k", "signed in"); err != nil {
		t.Fatal(err)
	}
	if err := bus.Publish(t.Context(), before, contract.ChallengeRequested, "j1", contract.ChallengeRequest{Challenge: "c1"}); err != nil {
		t.Fatal(err)
	}
	if err := before.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := old.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	i, err := startInfra(p, map[string]string{}, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := i.stop(); err != nil {
			t.Error(err)
		}
	}()
	as := func(s contract.Service) *bus.Bus {
		t.Helper()
		b, err := bus.Connect(t.Context(), bus.Options{URL: i.vars["NATS_URL"], Name: s, User: string(s), Password: i.passwords[permit.User(s)], Log: log})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close(context.Background()) })
		return b
	}
	if sessions, err = bus.OpenKV[string](t.Context(), as(contract.AuthGateway), contract.Sessions); err != nil {
		t.Fatal(err)
	}
	if v, _, err := sessions.Get(t.Context(), "k"); err != nil || v != "signed in" {
		t.Errorf("the session is %q, %v", v, err)
	}
	job := make(chan string, 1)
	if err := bus.Consume(t.Context(), as(contract.SMSDispatcher), contract.ChallengeRequested, bus.ConsumeOptions{}, func(_ context.Context, d bus.Delivery[contract.ChallengeRequest]) error {
		job <- d.Message.Challenge
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if got := <-job; got != "c1" {
		t.Errorf("the job is %q", got)
	}

	c := doctorCommand{site: site{Data: p.Data, Store: p.Store}, Listen: p.Listen, Ops: []string{p.Ops}, NATS: p.NATS, Sandbox: p.Sandbox}
	of := func(data string) (out finding) {
		c.Data = data
		for _, f := range c.examine(t.Context(), map[string]string{}) {
			if f.Check == "NATS" {
				out = f
			}
		}
		return out
	}
	if f := of(p.Data); f.Status != statusOK {
		t.Errorf("%+v", f)
	}
	if f := of(t.TempDir()); f.Status != statusFail || !strings.Contains(f.Says, "does not let us in") || !strings.Contains(f.Remedy, "nats-operator.password") {
		t.Errorf("%+v", f)
	}
}
