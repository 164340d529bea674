package sms

// last4 returns the only digits of a number that ever leave this service.
func last4(e164 string) string { return e164[max(0, len(e164)-4):] }

// mask shows a number by its last four digits; the shape is the same for every country, so that it tells no more.
func mask(last4 string) string { return "xxx-xxx-" + last4 }
