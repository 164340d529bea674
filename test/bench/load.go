package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// result is what so many clients did, each one operation after the other.
type result struct {
	Clients int
	Took    []time.Duration // one per operation, in no order
	Wall    time.Duration
	CPU     time.Duration // of the process that was measured, where that was asked for
	Refused int           // operations answered "unavailable": they are in no other figure
}

// perSecond is the rate of all clients together.
func (r result) perSecond() float64 {
	if r.Wall == 0 {
		return 0
	}
	return float64(len(r.Took)) / r.Wall.Seconds()
}

// quantile is the time within which this share of the operations was done (nearest rank).
func (r result) quantile(share float64) time.Duration {
	if len(r.Took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(r.Took))
	rank := int(share*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

// plus is both results as one: the same clients went on after a pause.
func (r result) plus(more result) result {
	return result{more.Clients, append(slices.Clone(r.Took), more.Took...), r.Wall + more.Wall, r.CPU + more.CPU, r.Refused + more.Refused}
}

// cpuPerOperation is what one operation took of the cores of the process that was measured.
func (r result) cpuPerOperation() time.Duration {
	return r.CPU / time.Duration(max(1, len(r.Took)))
}

// metered adds what a process took of the cores while run ran. The kernel counts in hundredths of a second.
func metered(pid int, run func() (result, error)) (result, error) {
	before, err := cpuOf(pid)
	if err != nil {
		return result{}, err
	}
	r, err := run()
	if err != nil {
		return r, err
	}
	after, err := cpuOf(pid)
	r.CPU = after - before
	return r, err
}

// cpuOf is what a process has taken of the cores so far.
func cpuOf(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything; user and system time are the 12th and 13th field after it.
	fields := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:])
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100, nil
}

var (
	// errNoMore ends a client: what was prepared is used up.
	errNoMore = errors.New("nothing is left to do")
	// errUnavailable is counted: on a machine that is busy with something else, an answer may take too long.
	errUnavailable = errors.New("unavailable")
)

// drive lets so many clients call do, again and again, until the time is over or nothing is left to do. Any error
// but the two above ends it: a figure with failures in it says nothing.
func drive(clients int, bound time.Duration, do func(client int) error) (result, error) {
	var stop atomic.Bool
	timer := time.AfterFunc(bound, func() { stop.Store(true) })
	defer timer.Stop()
	took, errs := make([][]time.Duration, clients), make([]error, clients)
	var refused atomic.Int64
	var all sync.WaitGroup
	start := time.Now()
	for c := range clients {
		all.Go(func() {
			for !stop.Load() {
				begin := time.Now()
				err := do(c)
				switch {
				case err == nil:
					took[c] = append(took[c], time.Since(begin))
				case errors.Is(err, errUnavailable):
					refused.Add(1)
				case errors.Is(err, errNoMore):
					return
				default:
					errs[c] = err
					stop.Store(true)
					return
				}
			}
		})
	}
	all.Wait()
	return result{Clients: clients, Took: slices.Concat(took...), Wall: time.Since(start), Refused: int(refused.Load())}, errors.Join(errs...)
}

// each lets eight clients do something with every item, for preparations that are not measured. What is unavailable is
// tried again.
func each[T any](items []T, do func(T) error) error {
	queue := queueOf(items)
	_, err := drive(8, time.Hour, func(int) error {
		item, err := queue()
		if err != nil {
			return err
		}
		for range 5 {
			if err = do(item); !errors.Is(err, errUnavailable) {
				return err
			}
		}
		return fmt.Errorf("five times: %s", err.Error())
	})
	return err
}

// queueOf hands out items, each once, and then errNoMore.
func queueOf[T any](items []T) func() (T, error) {
	var next atomic.Int64
	return func() (T, error) {
		n := next.Add(1) - 1
		if n >= int64(len(items)) {
			var none T
			return none, errNoMore
		}
		return items[n], nil
	}
}
