package service

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/bus"
	"sallyport/pkg/config"
	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
	"sallyport/pkg/store"
)

// Rhythms of the keys.
const (
	// KeysEvery is how often a service looks whether its key file has changed.
	KeysEvery = 2 * time.Second
	// resealEvery is how often it looks whether stored values are under an older key.
	resealEvery = 3 * time.Second
	// sayKeysEvery is how often it says which keys it has; see [store.Replica].
	sayKeysEvery = 10 * time.Second
)

// followKeys takes in the key file whenever it changes, and shows what became of it.
func (s *Service) followKeys() {
	r := s.Registerer()
	reloads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sallyport_seal_reloads_total", Help: "Changed key files that were taken in, or refused; the keys in memory stay when one is refused.",
	}, []string{"result"})
	for _, result := range []string{"taken", "refused"} {
		reloads.WithLabelValues(result)
	}
	r.MustRegister(reloads, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sallyport_seal_file_refused", Help: "1 while the key file that lies there is not the one in memory, because it was refused.",
	}, func() float64 {
		if s.Keys.State().Refused != nil {
			return 1
		}
		return 0
	}))
	for name, box := range map[seal.Keyset]*seal.Box{seal.Store: s.Keys.Store, seal.Bus: s.Keys.Bus} {
		labels := prometheus.Labels{"keyset": string(name)}
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sallyport_seal_keys", Help: "Keys in memory, by keyset; more than one from a rotation until the old ones are retired.", ConstLabels: labels,
		}, func() float64 { return float64(len(box.KeyIDs())) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sallyport_seal_primary_since_seconds", Help: "When the key that seals now began to, as a Unix time, by keyset; 0 where it was never rotated.", ConstLabels: labels,
		}, func() float64 {
			since := s.Keys.State().Since[name]
			if since.IsZero() {
				return 0
			}
			return float64(since.Unix())
		}))
	}
	s.Keys.Told(func(err error) {
		if err != nil {
			reloads.WithLabelValues("refused").Inc()
			s.Log.Error("key file refused; the keys in memory stay", slog.Any("error", err))
			return
		}
		reloads.WithLabelValues("taken").Inc()
		if retired := s.Keys.State().Retired; len(retired) > 0 {
			s.Log.Error("keys were retired while this replica sealed with them; it seals with the new ones now, and brings under them what it sealed: do not end it before sallyport_seal_retired_unsaved is 0", slog.Any("keys", retired))
		}
		s.Log.Info("key file taken in", slog.Uint64("store", uint64(s.Keys.Store.PrimaryKeyID())), slog.Uint64("bus", uint64(s.Keys.Bus.PrimaryKeyID())))
	})
	s.Go(func(ctx context.Context) {
		every(ctx, KeysEvery, func() { _ = s.Keys.Reload() }) // it was told
	})
}

// Reseal brings what the service keeps under the key that seals now, whenever that changes; see [store.Resealer]. It
// refuses keys that lack the one under which the values were brought last.
func (s *Service) Reseal(ctx context.Context, kept []store.Sealed) error {
	values := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sallyport_reseal_values_total", Help: "Stored values that were found under an older key, by what became of them.",
	}, []string{"result"})
	for _, result := range []string{store.Resealed, store.Changed, store.Unopened} {
		values.WithLabelValues(result)
	}
	left := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sallyport_reseal_remaining", Help: "Stored values that are still under an older key, as far as they are counted; every replica shows the same.",
	})
	unfinished := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sallyport_reseal_unfinished", Help: "1 from a rotation until nothing was found that is under an older key.",
	})
	unsaved := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sallyport_seal_retired_unsaved", Help: "1 while values may be stored under a key that was retired while this replica sealed with it: none but this process can open them.",
	})
	s.Registerer().MustRegister(values, left, unfinished, unsaved)
	r := store.NewResealer(s.DB, s.Keys, kept, s.Clock.Now, func(result, at string) {
		values.WithLabelValues(result).Inc()
		if result == store.Unopened {
			s.Log.Warn("sealed value does not open with any key", slog.String("at", at))
		}
	})
	if err := r.Check(ctx); err != nil {
		return &config.Error{Problems: []string{"KEYSET_FILE: " + err.Error()}}
	}
	show := func(ctx context.Context) {
		p, err := r.Progress(ctx)
		if err != nil {
			return // the store says so itself
		}
		left.Set(float64(p.Left))
		unfinished.Set(1)
		if p.Done(s.Keys.Store.PrimaryKeyID()) {
			unfinished.Set(0)
		}
	}
	s.Go(func(ctx context.Context) {
		saved := 0
		every(ctx, resealEvery, func() {
			if retired := s.Keys.State().Retired; len(retired) > saved {
				unsaved.Set(1)
				n, err := r.Rescue(ctx, retired)
				if n == 0 && err == nil {
					unsaved.Set(0)
					saved = len(retired)
				}
			}
			// A store that does not answer is told by itself.
			if err := r.Turn(ctx); err != nil && ctx.Err() == nil && contract.CodeOf(err) != contract.Unavailable {
				s.Log.Warn("stored values are not all under the new key yet", slog.Any("error", err))
			}
		})
	})
	s.Go(func(ctx context.Context) { every(ctx, resealEvery, func() { show(ctx) }) })
	s.Go(s.sayKeys)
	return nil
}

// sayKeys has an operator know which keys this replica has: at once when they change, every ten seconds, and until it ends.
func (s *Service) sayKeys(ctx context.Context) {
	id := bus.NewID()
	host, _ := os.Hostname() // it is for a person
	var said time.Time
	var what []uint32
	every(ctx, KeysEvery, func() {
		now := slices.Concat(s.Keys.Store.KeyIDs(), s.Keys.Bus.KeyIDs(), []uint32{s.Keys.Store.PrimaryKeyID(), s.Keys.Bus.PrimaryKeyID()})
		if slices.Equal(now, what) && time.Since(said) < sayKeysEvery {
			return
		}
		// A store that does not answer is told by itself.
		if err := store.SaySeals(ctx, s.DB, id, host, s.Keys, s.Clock.Now()); err == nil {
			said, what = time.Now(), now
		}
	})
	_ = store.SayGone(context.WithoutCancel(ctx), s.DB, id, s.Clock.Now()) // else it is gone in a minute
}

// every does something at once, and again and again until ctx ends.
func every(ctx context.Context, pause time.Duration, do func()) {
	t := time.NewTicker(pause)
	defer t.Stop()
	for {
		do()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
