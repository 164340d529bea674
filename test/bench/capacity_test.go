package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/FerretDB/wire/wirebson"

	"sallyport/pkg/contract"
)

func TestCapacityTables(t *testing.T) {
	r := newReport()
	if strings.Contains(r.capacityTables(), "NaN") {
		t.Error("an empty report divides by nothing")
	}
	gateway := string(contract.AuthGateway)
	one := operation{"sign-in with an app", 300, snapshot{
		figCPU + gateway: .004, figCPU + partStore: .01, figCommands + gateway: 9.96, figWrites + gateway: 4, figBus + gateway: 6000.4,
		figStream + "KV_" + contract.Sessions.Name: 812,
	}}
	c := &r.Capacity
	c.Operations, c.Hash = []operation{one, one, one}, 19*time.Millisecond
	c.Among = []operation{one, one}
	c.Full.result = result{Took: make([]time.Duration, 100), Wall: time.Second}
	c.Full.Shares = snapshot{figCPU + gateway: .5}
	c.Kept = []kept{{"sallyport_auth_gateway", "users", 10, 700, 9, 300}, {"sallyport_totp_svc", "authenticators", 10, 250, 1, 12}}
	c.Sessions.N, c.Sessions.Empty, c.Sessions.Full = 1<<20, 50, 2050
	c.Series = map[contract.Service]int{contract.AuthGateway: 700}
	page := r.capacityTables()
	for _, want := range []string{
		"takes **19.0 ms** of the gateway's CPU",
		"| sign-in with an app | 4.00 | 0.00 | 0.00 | 0.00 | 0.00 | 10.00 | 14.00 |",
		"| sign-in with an app | 10.0 | 0.0 | 0.0 | 0.0 | 10.0 | 4.0 | 0.0 | 0.0 | 6,000 | 0.0 | 0.0 |",
		"| auth_gateway `users` | 10 | 700 | 9 | 300 |",
		"| a person with an app (account, standing, authenticator) | 950 | 312 | 10 |",
		"| sign-in with an app | 812 |",
		"| resident in a gateway that heard of it, bytes | 2,000 |",
		"| auth-gateway | 50 % | 250 |",
		"it ends at 100 sign-ins",
		"auth-gateway 700",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the tables do not say %q", want)
		}
	}
	if t.Failed() {
		t.Log(page)
	}
}

func TestBetweenMarks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(file, []byte("before\n"+capacityBegin+"old\n"+capacityEnd+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := between(file, "new\n"); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(file); err != nil || string(raw) != "before\n"+capacityBegin+"new\n"+capacityEnd+"\nafter\n" {
		t.Errorf("%q, %v", raw, err)
	}
	if err := os.WriteFile(file, []byte("no marks"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := between(file, "new\n"); err == nil {
		t.Error("a file without marks is written")
	}
}

func TestRelayCounts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // the test is over
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		said := make([]byte, 5)
		_, _ = io.ReadFull(c, said)
		_, _ = c.Write(append(said, said...))
		_ = c.Close()
	}()
	r, err := openRelay(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer r.l.Close() //nolint:errcheck // the same
	c, err := net.Dial("tcp", r.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // the same
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	heard, err := io.ReadAll(c)
	if err != nil || string(heard) != "hellohello" {
		t.Errorf("%q, %v", heard, err)
	}
	if r.there.Load() != 5 || r.back.Load() != 10 {
		t.Errorf("%d there and %d back", r.there.Load(), r.back.Load())
	}
}

func TestSnapshotArithmetic(t *testing.T) {
	before, after := snapshot{figWall: 10, figCPU + "a": 1, figCPU + "b": 2}, snapshot{figWall: 20, figCPU + "a": 6, figCPU + "b": 4}
	each := after.minus(before).each(10, snapshot{figCPU + "a": .1})
	if a, b := each[figCPU+"a"], each[figCPU+"b"]; a != .4 || b != .2 {
		t.Errorf("a %v, b %v", a, b)
	}
	if idle := after.minus(before).perSecond(); idle[figCPU+"a"] != .5 || idle[figWall] != 1 {
		t.Errorf("%v", idle)
	}
}

func TestBytesOfDocuments(t *testing.T) {
	doc := wirebson.MustDocument
	user, err := doc("_id", "bench/u1", "n", int32(7), "mirror", doc("since", time.Unix(0, 0), "locked", false)).Encode()
	if err != nil {
		t.Fatal(err)
	}
	var indexes []wirebson.RawDocument
	for _, key := range []*wirebson.Document{doc("_id", int32(1)), doc("n", int32(1), "mirror.since", int32(1)), doc("mirror.locked", int32(1), "nothing", int32(1))} {
		raw, err := doc("key", key).Encode()
		if err != nil {
			t.Fatal(err)
		}
		indexes = append(indexes, raw)
	}
	var k kept
	if err := k.measure([]wirebson.RawDocument{user, user}, indexes); err != nil {
		t.Fatal(err)
	}
	if k.BSON != float64(len(user)) || k.Indexes != 3 || k.Keys != 9+4+8+1+1 {
		t.Errorf("%+v of %d bytes", k, len(user))
	}
}
