// Package clock answers: what time is it, for a rule that must be testable?
//
// Every rule with a deadline takes its time from a [Clock] that is handed to it as a value; nothing in the
// services calls [time.Now] for a decision. Waiting (timers, back-off) stays on real time.
package clock

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Clock tells the current time in UTC. Implementations are safe for concurrent use and never go backwards by
// more than the host's own clock does.
type Clock interface{ Now() time.Time }

// System returns the host's clock.
func System() Clock { return system{} }

type system struct{}

func (system) Now() time.Time { return time.Now().UTC() }

// Virtual is the host's clock plus an offset that only grows. The demo lets a visitor advance it, so that nobody
// has to wait for a lock-out or a new time step.
type Virtual struct {
	mu     sync.RWMutex
	base   Clock
	offset time.Duration
	file   string
}

// NewVirtual returns a virtual clock over base, without an offset and kept nowhere.
func NewVirtual(base Clock) *Virtual { return &Virtual{base: base} }

// OpenVirtual returns a virtual clock over the host's clock whose offset is kept in file, so that a restart does
// not travel back in time (which would make spent codes look new). A missing file means no offset; an unreadable
// one is an error.
func OpenVirtual(file string) (*Virtual, error) {
	v := &Virtual{base: System(), file: file}
	raw, err := os.ReadFile(file) //nolint:gosec // the operator's own data directory
	if errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	if err != nil {
		return nil, fmt.Errorf("virtual clock: %w", err)
	}
	var s virtualState
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("virtual clock %s: %w", file, err)
	}
	if s.OffsetNS < 0 {
		return nil, fmt.Errorf("virtual clock %s: it only goes forward", file)
	}
	v.offset = time.Duration(s.OffsetNS)
	return v, nil
}

type virtualState struct {
	OffsetNS int64 `json:"offset_ns"`
}

// Now returns the host's time plus the offset.
func (v *Virtual) Now() time.Time {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.base.Now().Add(v.offset)
}

// Advance moves the clock forward by d and returns the new time. A negative d is refused: steps already spent
// must stay spent. Where the offset is kept in a file, it is on disk before Advance returns.
func (v *Virtual) Advance(d time.Duration) (time.Time, error) {
	if d < 0 {
		return time.Time{}, errors.New("virtual clock: it only goes forward")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	next := v.offset + d
	if next < v.offset {
		return time.Time{}, errors.New("virtual clock: too far")
	}
	if v.file != "" {
		raw, err := json.Marshal(virtualState{OffsetNS: int64(next)})
		if err != nil {
			return time.Time{}, fmt.Errorf("virtual clock: %w", err)
		}
		if err := writeWhole(v.file, raw); err != nil {
			return time.Time{}, fmt.Errorf("virtual clock: %w", err)
		}
	}
	v.offset = next
	return v.base.Now().Add(next), nil
}

// writeWhole writes a file that is on disk, either as it was or as it is to be.
func writeWhole(path string, raw []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".clock-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // gone already when all went well
	if _, err := f.Write(raw); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Fixed is a clock that stands still until it is set. For tests of rules.
type Fixed struct {
	mu sync.Mutex
	at time.Time
}

// NewFixed returns a clock that stands at the given time.
func NewFixed(at time.Time) *Fixed { return &Fixed{at: at.UTC()} }

// Now returns the time at which the clock stands.
func (f *Fixed) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at
}

// Add moves the clock by d, in either direction.
func (f *Fixed) Add(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = f.at.Add(d)
}
