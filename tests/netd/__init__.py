"""NetD's stack on the host: driven through a socketpair, on a clock that stands still unless a test moves it."""
