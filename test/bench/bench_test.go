package main

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	var r result
	if r.quantile(.5) != 0 || r.perSecond() != 0 || r.cpuPerOperation() != 0 {
		t.Error("nothing measured is not nothing")
	}
	for n := 100; n > 0; n-- {
		r.Took = append(r.Took, time.Duration(n))
	}
	for share, want := range map[float64]time.Duration{0: 1, .01: 1, .5: 50, .99: 99, 1: 100} {
		if got := r.quantile(share); got != want {
			t.Errorf("%v: %d, want %d", share, got, want)
		}
	}
}

func TestDriveDoesEverythingOnce(t *testing.T) {
	items := indexes(1000)
	done := make([][]int, 8)
	next := queueOf(items)
	r, err := drive(8, time.Hour, func(client int) error {
		n, err := next()
		if err != nil {
			return err
		}
		if n%10 == 0 {
			return errUnavailable
		}
		done[client] = append(done[client], n)
		return nil
	})
	if err != nil || len(r.Took) != 900 || r.Refused != 100 {
		t.Errorf("%d done, %d refused, %v", len(r.Took), r.Refused, err)
	}
	seen := map[int]bool{}
	for _, some := range done {
		for _, n := range some {
			if seen[n] {
				t.Errorf("%d twice", n)
			}
			seen[n] = true
		}
	}
}

func TestDriveStopsAtAnError(t *testing.T) {
	broken := errors.New("broken")
	if _, err := drive(4, time.Hour, func(int) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

func TestCPUOfThisProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc here")
	}
	begin, err := cpuOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		_ = production.key()
	}
	if end, err := cpuOf(os.Getpid()); err != nil || end <= begin {
		t.Errorf("%v, then %v: %v", begin, end, err)
	}
}

func TestReport(t *testing.T) {
	var lines strings.Builder
	r := newReport()
	r.header(&lines)
	for _, clients := range levels {
		got := result{Clients: clients, Took: []time.Duration{time.Millisecond, 2 * time.Millisecond}, Wall: 4 * time.Millisecond, Refused: 1}
		floor := result{Clients: clients, Took: got.Took, Wall: 2 * time.Millisecond}
		for _, name := range []string{"Verification", "SessionCheck", "SignInProductionHash"} {
			r.compare(name, got, floor)
		}
		r.floor("OneUpdate", "one update", floor)
		r.Sizes = append(r.Sizes, sized{100 * clients, got})
		r.Texts = append(r.Texts, text{got, got})
	}
	r.PeakAt32, r.Start.Idle, r.Start.First, r.Load, r.Commands.Checks = 251, 149, time.Second, 17, 5000
	if want := "BenchmarkVerification/clients=8"; !strings.Contains(lines.String(), want) || !strings.HasPrefix(lines.String(), "goos: ") {
		t.Errorf("no %s in\n%s", want, &lines)
	}
	page := r.markdown()
	for _, want := range []string{
		"| verifications: at least 0.6 of their floor, at 1, 8 and 32 clients | 0.50 at worst | **no** |",
		"| sign-ins: less than 250 MiB resident at 32 clients | 251 MiB | **no** |",
		"| less than 150 MiB resident when idle | 149 MiB | yes |",
		"| a verification among 3,200 people costs at most 1.3 of one among 100 | 1.00 | yes |",
		"| 8 | 500 | 1.0 ms | 2.0 ms | 0.000 ms | 1,000 | 1.0 ms | 0.000 ms | 0.50 |",
		"3 operations were answered",
		"The machine had other work",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the report does not say %q", want)
		}
	}
	if strings.Contains(newReport().markdown(), "NaN") {
		t.Error("an empty report divides by nothing")
	}
}

func TestNumber(t *testing.T) {
	for f, want := range map[float64]string{0: "0.0", 9.94: "9.9", 10: "10", 1234.5: "1,234", 1234567: "1,234,567"} {
		if got := number(f); got != want {
			t.Errorf("%v: %s, want %s", f, got, want)
		}
	}
}

// What a machine has room for is the least of as many times one replica, its cores and its store.
func TestRoomForReplicas(t *testing.T) {
	one := scaled{Replicas: 1, Workers: 4, Rate: 70, Floor: 80, Dispatchers: time.Millisecond, Parts: 4 * time.Millisecond}
	four := one
	four.Replicas, four.Rate = 4, 240
	r := &report{Scaled: []scaled{one, four}}
	cores := four.allowed()
	if want := float64(runtime.NumCPU()) * 200; cores != want {
		t.Errorf("the cores allow %v, want %v", cores, want)
	}
	if got := r.room(four); got != min(280, cores) {
		t.Errorf("room for %v", got)
	}
	r.StoreAlone = result{Took: make([]time.Duration, 250), Wall: time.Second}
	if got := r.room(four); got != min(250, cores) {
		t.Errorf("with that store room for %v", got)
	}
	if got := r.room(one); got != 70 {
		t.Errorf("room for one: %v", got)
	}
	var rows []string
	r.Backlog = backlog{Jobs: 100_000, Empty: 30, Full: 31, Drain: 33}
	r.scalingAims(func(cells ...string) { rows = append(rows, strings.Join(cells, "|")) }, func(ok bool) string { return map[bool]string{true: "yes", false: "no"}[ok] })
	if len(rows) != 3 || !strings.HasSuffix(rows[0], "0.88 at worst|no") || !strings.HasSuffix(rows[1], "|yes") || !strings.HasSuffix(rows[2], "33 MiB, 30 MiB without|yes") {
		t.Errorf("%s", strings.Join(rows, "\n"))
	}
	if got := (&report{}).markdown(); strings.Contains(got, "replicas") || strings.Contains(got, "queue") {
		t.Error("what was not measured is in the report")
	}
}
