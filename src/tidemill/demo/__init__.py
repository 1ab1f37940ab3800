"""The demo: one model's whole life over a year of real flights, in accelerated time."""
