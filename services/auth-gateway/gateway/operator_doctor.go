package gateway

// Buckets are those in which the gateway keeps sign-ins and sessions.
func Buckets() []string { return []string{"SALLYPORT_SIGN_INS", "SALLYPORT_SESSIONS"} }
