/* What the cells of a window become: each as it is taken, and two of them brought together. */
enum NAME(operation) { NAME(MAX), NAME(ORDERED_MAX), NAME(SUM), NAME(SQUARES), NAME(MAGNITUDES) };

INLINE V NAME(bring)(enum NAME(operation) operation, V total, V value)
{
    switch (operation) {
    case NAME(MAX):
        return NAME(or_nan)(total, NAME(larger)(total, value));
    case NAME(ORDERED_MAX):
        return NAME(larger)(total, value);
    case NAME(SQUARES):
        return NAME(multiply_add)(value, value, total);
    case NAME(MAGNITUDES):
        return total + NAME(magnitude)(value);
    default:
        return total + value;
    }
}

INLINE V NAME(take)(enum NAME(operation) operation, V value)
{
    switch (operation) {
    case NAME(SQUARES):
        return value * value;
    case NAME(MAGNITUDES):
        return NAME(magnitude)(value);
    default:
        return value;
    }
}

INLINE REAL NAME(neutral)(enum NAME(operation) operation)
{
    return operation == NAME(MAX) || operation == NAME(ORDERED_MAX) ? (REAL)-INFINITY : (REAL)0;
}
