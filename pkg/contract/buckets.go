package contract

import "time"

// Bucket is a key-value bucket: state of one service that expires by itself.
type Bucket struct {
	Name string
	// Owner is the one service that reads and writes it.
	Owner Service
	// MaxAge (real time) is how long after its last write a value vanishes. That only sweeps: whoever reads a value
	// decides by the expiry inside it.
	MaxAge time.Duration
	// MaxBytes bounds all that it holds. A full bucket takes no more until something vanishes: what strangers can cause
	// has a bucket of its own, so that it fills no other.
	MaxBytes int64
	// Watched says that its owner follows every change.
	Watched bool
}

// Every bucket.
var (
	// SignIns are the sign-ins that are under way, and those that lately were: one that is finished or expired can be told
	// from one that never was.
	SignIns = Bucket{"SALLYPORT_SIGN_INS", AuthGateway, 30 * time.Minute, 1 << 30, false}
	// Journeys are people at their sign-in provider. Anybody can begin one.
	Journeys = Bucket{"SALLYPORT_JOURNEYS", AuthGateway, 20 * time.Minute, 512 << 20, false}
	// Sessions are who is signed in. A session lasts twelve hours, and is over when it was not used for half an hour; what
	// is used is written again, so that what was not written for longer is nobody's.
	Sessions = Bucket{"SALLYPORT_SESSIONS", AuthGateway, time.Hour, 1 << 30, true}
)

// Buckets lists every bucket. Each is on disk, replicated three times on a cluster.
func Buckets() []Bucket { return []Bucket{SignIns, Journeys, Sessions} }
