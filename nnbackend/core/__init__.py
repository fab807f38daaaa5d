"""What everything else is made of: types, trees, names, random numbers, stateless mathematics."""
